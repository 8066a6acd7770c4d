"""Errors of feature definitions and values.

    FeatureError
    |- InvalidColumn    (BadRequest)   a key or request-time field is missing, of the wrong type or refused by a transform
    |- UnknownService   (Unavailable)  no feature service of that name, or one that could not be compiled
    `- RegistryError    (Internal)     the Feast registry cannot be read; never the client's doing

A store that fails is not an error: the answer has defaults and says `degraded`."""

from serving.errors import BadRequest, Internal, Unavailable


class FeatureError(Exception):
    """Something is wrong about features."""


class InvalidColumn(FeatureError, BadRequest):
    """A column of the request does not fit the feature service."""


class UnknownService(FeatureError, Unavailable):
    """There is no such feature service here (yet)."""


class RegistryError(FeatureError, Internal):
    """The registry or its configuration cannot be read or makes no sense."""
