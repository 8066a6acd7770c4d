"""The errors of sinks, named by cause.

SinkError
|- SinkConfigError   sinks.yaml, or a file that it names, cannot be used
|- SpoolError        the spool cannot be read or written
|  `- SpoolFull      it has reached its bound; room is made as alerts are delivered
`- FarEndDown        the far end could not be reached, or hung up; trying again can help"""


class SinkError(Exception):
    """An error of the sinks: what, where, and the way out. It never holds a secret."""


class SinkConfigError(SinkError):
    """A configuration that cannot be used."""


class SpoolError(SinkError):
    """The spool cannot be read or written."""


class SpoolFull(SpoolError):
    """The spool has reached its bound."""


class FarEndDown(SinkError):
    """The far end could not be reached, or did not answer to the end."""


class AlertUnwritable(SinkError):
    """An alert cannot be written in a form."""
