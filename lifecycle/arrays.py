"""The kinds of arrays that evaluation and training pass around."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


def entity_codes(entity: NDArray[Any]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """The distinct entities as text, sorted, and the place of each row's in them, shape (n,). entity: text, bytes or numbers, (n,).

    Bytes are read as UTF-8; what is none of it is kept by surrogates. Entities that differ only in NULs at their end are two: NumPy's text
    of fixed width takes them for one."""
    text = [e.decode("utf-8", "surrogateescape") if isinstance(e, bytes) else str(e) for e in entity.tolist()]
    names = sorted(set(text))
    places = {name: place for place, name in enumerate(names)}
    found = np.empty(len(names), dtype=object)
    found[:] = names
    return found, np.fromiter((places[name] for name in text), dtype=np.int64, count=len(text))
