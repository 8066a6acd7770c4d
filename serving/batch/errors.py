"""Errors that end a batch job. A row that cannot be scored does not: it is in the output with its reason.

BatchError
|- BatchInputError   the input cannot be read, or does not have the columns that the model takes
|- OutputInUse       another job writes to the output
`- OutputMismatch    the output holds what this job would lose"""


class BatchError(Exception):
    """A job cannot go on; the message says what, where, and the way out."""


class BatchInputError(BatchError):
    """The input cannot be read or lacks a column."""


class OutputInUse(BatchError):
    """Another job has the output's lock."""


class OutputMismatch(BatchError):
    """The output was made from files that this job does not read."""
