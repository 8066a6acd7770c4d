"""The errors of the registry.

    RegistryError
    |- NoSuchBundle     the reference names nothing that is there
    |- Refused          the change is against the rules; it is recorded as refused
    |- Damaged          what is stored is not what it should be
    `- Unreachable      the store does not answer, or does not let us in

Trying again helps with Unreachable only."""


class RegistryError(Exception):
    """The registry cannot do what was asked; the message says what, where, and the way out."""


class NoSuchBundle(RegistryError):
    """The reference names nothing that is there."""


class Refused(RegistryError):
    """The change is against the rules."""


class Damaged(RegistryError):
    """What is stored is not what it should be."""


class Unreachable(RegistryError):
    """The store does not answer, or does not let us in."""
