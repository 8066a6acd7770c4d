"""Names of spans and their attributes: OpenTelemetry's semantic conventions where they have a name, else `vedette.*`.

docs/reference/tracing.md has both tables; a test holds them equal to SPANS and ATTRIBUTES. Pure: loads no OpenTelemetry.
Source: OpenTelemetry semantic conventions 1.4x, HTTP server, gRPC server, messaging."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

Attributes = Mapping[str, bool | int | float | str]
NO_ATTRIBUTES: Final[Attributes] = MappingProxyType({})

TraceKind = Literal["server", "client", "producer", "consumer", "internal"]
"""What a span is to its neighbours: it answers a call, makes one, writes a message, takes one, or is a part of its parent."""

INFER_HTTP: Final = "POST {route}"
INFER_GRPC: Final = "inference.GRPCInferenceService/ModelInfer"
INFER: Final = "infer"
DECODE: Final = "decode"
QUEUE: Final = "queue"
CACHE: Final = "cache"
FEATURES: Final = "features"
MODEL: Final = "model"
TRIAGE: Final = "triage"
RULES: Final = "rules"
SUPPRESS: Final = "suppress"
EXPLAIN: Final = "explain"
AUDIT: Final = "audit"
ENCODE: Final = "encode"

SPANS: Final[Mapping[str, tuple[TraceKind, str]]] = MappingProxyType(
    {
        INFER_HTTP: ("server", "A request over HTTP, from the first byte that is decoded to the last that is encoded."),
        INFER_GRPC: ("server", "The same over gRPC."),
        INFER: ("internal", "A request that came through no door: of the stream or of a batch."),
        DECODE: ("internal", "The door reads the body into tensors."),
        FEATURES: ("internal", "One read of the online features, of one variant's rows."),
        CACHE: ("internal", "The look-up in the prediction cache. On a miss the run of the model is within it."),
        QUEUE: ("internal", "The wait for a thread of the model's bulkhead. Models that run on the event loop have none."),
        MODEL: (
            "internal",
            "The run of the graph, with the triage before it where it is on: the rows that triage ended are an attribute.",
        ),
        TRIAGE: ("internal", "The triage, in place of `model`, where it ended every row, so that the model did not run."),
        RULES: ("internal", "Rules raise verdicts of the model, or answer in its place."),
        SUPPRESS: ("internal", "Suppressions of the revision."),
        EXPLAIN: ("internal", "The explanation that the request asked for."),
        AUDIT: ("internal", "Records for the prediction log: handed on or, where the log is strict, on the disk."),
        ENCODE: ("internal", "The door writes the answer's body."),
    }
)

ERROR_TYPE: Final = "error.type"
HTTP_METHOD: Final = "http.request.method"
HTTP_ROUTE: Final = "http.route"
HTTP_STATUS: Final = "http.response.status_code"
HTTP_ANSWER_BYTES: Final = "http.response.body.size"
RPC_SYSTEM: Final = "rpc.system.name"
RPC_METHOD: Final = "rpc.method"
RPC_STATUS: Final = "rpc.response.status_code"
KEPT: Final = "vedette.trace.kept"
MODEL_NAME: Final = "vedette.model"
VERSION: Final = "vedette.version"
VARIANT: Final = "vedette.variant"
REVISION: Final = "vedette.revision"
RECEIPT: Final = "vedette.receipt"
SOURCE: Final = "vedette.source"
FALLBACK_FROM: Final = "vedette.fallback_from"
ROWS: Final = "vedette.rows"
DEGRADED_ROWS: Final = "vedette.rows.degraded"
ENDED_ROWS: Final = "vedette.rows.ended_by_triage"
MATCHED_ROWS: Final = "vedette.rows.matched"
SUPPRESSED_ROWS: Final = "vedette.rows.suppressed"
INPUTS: Final = "vedette.inputs"
FEATURE_SERVICE: Final = "vedette.feature_service"
FEATURE_OUTCOME: Final = "vedette.features.outcome"
CACHE_OUTCOME: Final = "vedette.cache.outcome"
EXPLAIN_METHOD: Final = "vedette.explain.method"
AUDIT_MODE: Final = "vedette.audit.mode"

ATTRIBUTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ERROR_TYPE: "The error's class, e.g. `DeadlineExceeded`. docs/reference/errors.md lists them.",
        HTTP_METHOD: "`POST`.",
        HTTP_ROUTE: "The path with `{model}` and `{version}` in place of names.",
        HTTP_STATUS: "The status of the answer.",
        HTTP_ANSWER_BYTES: "Bytes of the answer's body before compression.",
        RPC_SYSTEM: "`grpc`.",
        RPC_METHOD: "The method with its service.",
        RPC_STATUS: "Name of the gRPC status code of the answer.",
        KEPT: "Why there is a trace: `sampled`, `error`, `slow` or `degraded`. Only `sampled` ones are a fair sample.",
        MODEL_NAME: "The model asked for.",
        VERSION: "Version that answered.",
        VARIANT: "Variant that answered.",
        REVISION: "Digest of the revision that answered.",
        RECEIPT: "The receipt of the answer, which its records in the prediction log have too.",
        SOURCE: "What answered: the `source` of the answer.",
        FALLBACK_FROM: "The variant that failed, so that stable answered.",
        ROWS: "Rows.",
        DEGRADED_ROWS: "Rows whose features were missing or stale, or that rules answered.",
        ENDED_ROWS: "Rows that triage ended, so that the model did not score them.",
        MATCHED_ROWS: "Rows that a rule matches.",
        SUPPRESSED_ROWS: "Rows whose verdict a suppression lowered.",
        INPUTS: "Tensors or columns in the body.",
        FEATURE_SERVICE: "The feature service that was read.",
        FEATURE_OUTCOME: "What the store answered.",
        CACHE_OUTCOME: "`hit`, `miss`, or how else the outputs were found.",
        EXPLAIN_METHOD: "The method of the explanation.",
        AUDIT_MODE: "Mode of the prediction log for this model.",
    }
)
