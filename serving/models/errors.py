"""The errors of bundles and models.

    ModelError
    |- BundleError    the bundle is refused: changed, incomplete, unsafe, or it does not fit its feature service
    |- NoSuchModel    the store has no such model or version
    `- RunError       the runtime refused to run the model on this input

None of them gets better by trying again with the same bundle and input."""


class ModelError(Exception):
    """A bundle or model cannot be used."""


class BundleError(ModelError):
    """A bundle is refused; the message says what, where, and the way out."""


class NoSuchModel(ModelError):
    """The store does not have this model or version."""


class RunError(ModelError):
    """The runtime refused the input."""
