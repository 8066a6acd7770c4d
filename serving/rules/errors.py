"""The errors of rules.

    RuleError    a rule set is refused: unreadable, over a limit, or a threshold rule does not hold against the bundle's columns

It does not get better by trying again with the same files. A SIGMA rule that merely uses what is not supported is not an error: it is
listed, with its reason."""


class RuleError(Exception):
    """A rule set is refused; the message says what, where, and the way out."""
