"""Which right each HTTP endpoint needs. Values only; serving.access has the verbs and decides.

An endpoint that is not in this table is closed to everybody where access is guarded. A test fails if one is missing."""

from collections.abc import Mapping
from typing import Final

from serving.access.verbs import Verb
from serving.doors.http.router import Endpoint

HTTP_VERBS: Final[Mapping[Endpoint, Verb]] = {
    Endpoint.INDEX: Verb.HEALTH,
    Endpoint.LIVE: Verb.HEALTH,
    Endpoint.READY: Verb.HEALTH,
    Endpoint.METRICS: Verb.METRICS,
    Endpoint.OPENAPI: Verb.METADATA,
    Endpoint.SERVER: Verb.METADATA,
    Endpoint.MODELS: Verb.METADATA,
    Endpoint.MODEL: Verb.METADATA,
    Endpoint.MODEL_READY: Verb.METADATA,
    Endpoint.INFER: Verb.INFER,
    Endpoint.STATISTICS: Verb.STATISTICS,
    Endpoint.ALL_STATISTICS: Verb.STATISTICS,
    Endpoint.REPOSITORY_INDEX: Verb.INDEX,
    Endpoint.LOAD: Verb.REPOSITORY,
    Endpoint.UNLOAD: Verb.REPOSITORY,
    Endpoint.RISKS: Verb.RISK,
    Endpoint.RISK: Verb.RISK,
    Endpoint.V1_MODELS: Verb.METADATA,
    Endpoint.V1_MODEL: Verb.METADATA,
    Endpoint.V1_METADATA: Verb.METADATA,
    Endpoint.V1_PREDICT: Verb.INFER,
    Endpoint.V1_EXPLAIN: Verb.INFER,
}
"""`:explain`, and a request of `:predict` or `infer` that asks for an explanation, needs `explain` too."""
NAMES_NO_MODEL: Final = frozenset({Endpoint.RISK})
"""Endpoints whose path names something else than a model."""
