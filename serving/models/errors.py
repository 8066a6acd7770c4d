"""The errors of bundles and models.

    ModelError
    |- BundleError    the bundle is refused: changed, incomplete, unsafe, or it does not fit its feature service
    |  `- UntrustedBundle   signatures are required and no trusted key signed it
    |- NoSuchModel    the store has no such model or version
    `- RunError       the runtime refused to run the model on this input

None of them gets better by trying again with the same bundle and input."""

import re
from pathlib import Path
from typing import Final


class ModelError(Exception):
    """A bundle or model cannot be used."""


class BundleError(ModelError):
    """A bundle is refused; the message says what, where, and the way out."""


class UntrustedBundle(BundleError):
    """No trusted key signed the bundle; the message says what is wrong with each signature."""


class NoSuchModel(ModelError):
    """The store does not have this model or version."""


class RunError(ModelError):
    """The runtime refused the input."""


_FILE_PATH: Final = re.compile(r"(?<![\w./:])/(?:[^\s/:;,'\"()]+/)+([^\s/:;,'\"()]*)")
_RUNTIME_VERSION: Final = re.compile(r"\b(onnxruntime) [0-9][\w.+-]*")


def message_for_clients(problem: Exception, root: Path) -> str:
    """The message without this machine's paths and without the runtime's version.

    A path within the store is given from its root on, any other path by its last part."""
    text = str(problem) or type(problem).__name__
    for place in (root.resolve(), root):
        text = text.replace(f"{place}/", "").replace(str(place), "the store") if place.name else text
    return _RUNTIME_VERSION.sub(r"\1", _FILE_PATH.sub(r"\1", text))
