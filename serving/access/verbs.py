"""What a caller can do at a door, as the words of the access policy. Values only.

Which endpoint needs which verb is the doors' to say (serving.doors.http.endpoint_verbs, serving.doors.grpc.method_verbs)."""

from enum import StrEnum


class Verb(StrEnum):
    """One right. Those of `OF_MODELS` are granted for models by name. A StrEnum, because the hash of an Enum is Python's own, and slow."""

    HEALTH = "health"
    METRICS = "metrics"
    METADATA = "metadata"
    STATISTICS = "statistics"
    INFER = "infer"
    EXPLAIN = "explain"
    INDEX = "index"
    REPOSITORY = "repository"
    RISK = "risk"


ABOUT = {
    Verb.HEALTH: "Liveness and readiness of the server",
    Verb.METRICS: "The page of metrics. A caller with a tenant never may: the page speaks of all tenants",
    Verb.METADATA: "Inputs, outputs and readiness of a model; the list of models; description of the server",
    Verb.STATISTICS: "How often and how fast a model has answered",
    Verb.INFER: "Ask a model",
    Verb.EXPLAIN: "Ask a model for the reasons of its scores; such a request needs `infer` too",
    Verb.INDEX: "The index of the repository: versions, and why one is not loaded",
    Verb.REPOSITORY: "Load and unload models; `VEDETTE_REPOSITORY_CONTROL` must be true too",
    Verb.RISK: "Risks of entities; `VEDETTE_RISK_OVER_HTTP` must be true too. A caller with a tenant sees the entities of its tenant",
}
"""What each verb allows, for the reference page and `vedette access explain`."""
OF_MODELS = frozenset({Verb.METADATA, Verb.STATISTICS, Verb.INFER, Verb.EXPLAIN, Verb.INDEX, Verb.REPOSITORY})
SHAREABLE = frozenset({Verb.METADATA, Verb.INFER, Verb.EXPLAIN})
"""What a tenant may do with a model that several tenants share. Its statistics speak of all of them, and its revision is theirs all."""
OPENABLE = frozenset({Verb.HEALTH, Verb.METRICS, Verb.METADATA})
"""What may be open to everybody without a role."""
NOT_FOR_TENANTS = frozenset({Verb.METRICS})
"""What no caller with a tenant may do: the answer concerns all tenants."""
