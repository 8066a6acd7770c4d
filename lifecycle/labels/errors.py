"""The errors of labels.

    LabelError
    |- WrongLabel      a label is not well formed; the message names the field
    |- LabelConflict   a label's id was used before, for another word
    |- UnknownEvent    no answer is recorded by this name
    `- LabelsLost      labels could not be made durable: give them again

Only the last gets better by trying again."""


class LabelError(Exception):
    """A label cannot be taken; the message says what, where, and the way out."""


class WrongLabel(LabelError, ValueError):
    """A label is not well formed."""


class LabelConflict(LabelError):
    """The id of a label was used before, for another word."""


class UnknownEvent(LabelError):
    """No answer is recorded by this name."""


class LabelsLost(LabelError):
    """Labels could not be made durable: none of them counts as given. Another attempt may succeed."""
