"""A suppression as people write it in a ModelService or a file: a known cause of false alarms, part of a revision.

Pure. The data plane's form is serving.spec.SuppressionSpec."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, WithJsonSchema

from operators.values import Value
from serving.spec import SuppressionSpec


class Suppression(Value):
    """A known cause of false alarms: events for which `when` holds do not alert until it expires."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$", max_length=63)]
    """Its name in answers, records and metrics."""
    owner: Annotated[str, Field(min_length=1, max_length=200)]
    """Person or team responsible for the suppression."""
    reason: Annotated[str, Field(min_length=1, max_length=1000)]
    """Why these events are no attacks."""
    expires: Annotated[AwareDatetime, WithJsonSchema({"type": "string", "format": "date-time", "maxLength": 64})]
    """From this moment on it suppresses nothing."""
    when: Annotated[str, Field(min_length=1, max_length=2000)]
    """CEL over the model's columns: entity keys, request fields, features."""
    becomes: Literal["benign", "investigate"]
    """The verdict in place of alert; benign also in place of investigate."""


def served_suppressions(entries: tuple[Suppression, ...]) -> tuple[SuppressionSpec, ...]:
    """The value for the data plane."""
    return tuple(SuppressionSpec.model_validate(entry.model_dump(by_alias=False)) for entry in entries)
