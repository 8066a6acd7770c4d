"""The errors of labels.

    LabellingError
    |- WrongLabel      a label is not well formed; the message names the field
    |- LabelConflict   a label's id was used before, for another word
    |- UnknownEvent    no answer is recorded by this name
    `- LabelsLost      labels could not be made durable: give them again

Only the last gets better by trying again."""


class LabellingError(Exception):
    """A label cannot be taken; the message says what, where, and the way out."""


class WrongLabel(LabellingError, ValueError):
    """A label is not well formed."""


class LabelConflict(LabellingError):
    """The id of a label was used before, for another word."""


class UnknownEvent(LabellingError):
    """No one event is recorded by this name. is_not_there: no answer has it at all."""

    def __init__(self, message: str, *, is_not_there: bool = False) -> None:
        super().__init__(message)
        self.is_not_there = is_not_there


class LabelsLost(LabellingError):
    """Labels could not be made durable: none of them counts as given. Another attempt may succeed."""
