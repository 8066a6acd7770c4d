"""The key of a cached prediction: everything that decides the prediction, and its tenant. Pure.

The key is a BLAKE2b digest of 20 bytes over, in this order, each part behind its length so that no two lists of parts are written alike:

    tenant | revision digest | operating point | outputs asked for | of each tensor: name, type, shape, bytes

The tensors are the model's own inputs, put together from what the client sent and the feature values that were read: a feature that
changed is another key. So keys hold no clear text of a client, and one tenant's predictions are never another's."""

import struct
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

KEY_BYTES: Final = 20
_LAYOUT: Final = b"prediction 1"
"""Goes into every digest; changes with the layout or with how values are written."""

_length = struct.Struct("<I").pack


def prediction_key(
    tenant: str, revision: str, point: str | None, outputs: Sequence[str], tensors: Mapping[str, NDArray[Any]]
) -> bytes:
    """The key of one run. tensors: as the runtime takes them (text as object arrays of str or bytes)."""
    parts = [tenant.encode(), revision.encode(), b"" if point is None else b"p" + point.encode(), _length(len(outputs))]
    parts += [name.encode() for name in outputs]
    for name in sorted(tensors):
        tensor = tensors[name]
        parts += [name.encode(), tensor.dtype.str.encode(), str(tensor.shape).encode()]
        if tensor.dtype == object:
            parts += [b"b" + text if isinstance(text, bytes) else b"s" + str(text).encode() for text in tensor.ravel().tolist()]
        else:
            parts.append(np.ascontiguousarray(tensor).tobytes())
    digest = blake2b(digest_size=KEY_BYTES, person=_LAYOUT)
    for part in parts:
        digest.update(_length(len(part)))
        digest.update(part)
    return digest.digest()
