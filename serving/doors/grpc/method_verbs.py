"""Which right each gRPC method needs. Values only; serving.access has the verbs and decides.

A method that is not in this table is closed to everybody where access is guarded. A test fails if one is missing."""

from collections.abc import Mapping
from typing import Final

from serving.access.verbs import Verb
from serving.doors.grpc.stubs import HEALTH, REFLECTION, REFLECTION_V1, SERVICE

GRPC_VERBS: Final[Mapping[str, Verb]] = {
    f"{SERVICE}/ServerLive": Verb.HEALTH,
    f"{SERVICE}/ServerReady": Verb.HEALTH,
    f"{SERVICE}/ServerMetadata": Verb.METADATA,
    f"{SERVICE}/ModelReady": Verb.METADATA,
    f"{SERVICE}/ModelMetadata": Verb.METADATA,
    f"{SERVICE}/ModelInfer": Verb.INFER,
    f"{SERVICE}/ModelStatistics": Verb.STATISTICS,
    f"{SERVICE}/RepositoryIndex": Verb.INDEX,
    f"{SERVICE}/RepositoryModelLoad": Verb.REPOSITORY,
    f"{SERVICE}/RepositoryModelUnload": Verb.REPOSITORY,
    f"{HEALTH}/Check": Verb.HEALTH,
    f"{HEALTH}/Watch": Verb.HEALTH,
    f"{REFLECTION}/ServerReflectionInfo": Verb.METADATA,
    f"{REFLECTION_V1}/ServerReflectionInfo": Verb.METADATA,
}
"""The health of a model, by its name, needs `metadata` for that model."""
