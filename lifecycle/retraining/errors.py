"""The errors of retraining.

    RetrainingError
    |- PolicyError     the policy file is wrong
    |- NotTrainable    there is nothing to train on, or the strategy does not fit the detector
    `- DamagedProgress the file that says how far retraining is does not hold what it should

None of them gets better by trying again with the same files and labels."""


class RetrainingError(Exception):
    """A model cannot be trained again; the message says what, where, and the way out."""


class PolicyError(RetrainingError):
    """The policy file is wrong."""


class NotTrainable(RetrainingError):
    """There is nothing to train on, or the strategy does not fit the detector."""


class DamagedProgress(RetrainingError):
    """The file that says how far retraining is does not hold what it should."""
