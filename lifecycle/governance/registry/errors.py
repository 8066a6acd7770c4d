"""The errors of the registry.

    RegistryError
    |- NoSuchBundle     the reference names no bundle of the registry
    |- Refused          the change breaks a rule; it is recorded as refused
    |- Damaged          stored data does not match its digest, or its history has a gap
    `- Unreachable      the store does not answer, or denies access

Trying again helps with Unreachable only."""


class RegistryError(Exception):
    """The registry cannot do what was asked; the message says what, where, and the way out."""


class NoSuchBundle(RegistryError):
    """The reference names no bundle of the registry."""


class Refused(RegistryError):
    """The change breaks a rule of the registry."""


class Damaged(RegistryError):
    """Stored data does not match its digest, or its history has a gap."""


class Unreachable(RegistryError):
    """The store does not answer, or denies access."""
