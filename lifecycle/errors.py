"""The errors of training.

    TrainingError
    |- DetectorError   the declaration is wrong
    |- DataError       the data does not fit the declaration, or gives the label away
    |  `- TooManyBadRows  more rows than the detector allows would have to be set aside
    `- ExportError     the ONNX graph does not answer as the trained model does
    EvaluationError    a bundle cannot be judged on these rows

None of them gets better by trying again with the same declaration and data."""


class TrainingError(Exception):
    """A detector cannot be trained; the message says what, where, and the way out."""


class DetectorError(TrainingError):
    """The declaration is wrong."""


class DataError(TrainingError):
    """The data does not fit the declaration."""


class TooManyBadRows(DataError):
    """A larger share of the rows is bad than the detector allows."""


class ExportError(TrainingError):
    """The exported graph differs from the trained model."""


class EvaluationError(Exception):
    """A bundle cannot be judged on these rows; the message says why, and the way out."""
