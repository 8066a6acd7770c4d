"""The resources that people write and whose status the operator writes: ModelService and RolloutPolicy, vedette.dev/v1alpha1.

Pure: frozen values, camelCase outside. operators.rollout.spec has the rollout's fields, operators.autoscaling.spec those of the replica
count; here they become resources. operators.api.read parses them, operators.api.crds makes the CRDs."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal, TypeVar

from pydantic import ConfigDict, Field, ValidationError, ValidatorFunctionWrapHandler, field_validator, model_validator

from operators.autoscaling.spec import ScalingSpec
from operators.ports import ServiceRef
from operators.rollout.spec import UNMIRRORED_STEPS, Analysis, ExperimentSpec, Revision, RolloutSpec
from operators.rollout.status import RolloutStatus
from operators.values import RuleBroken, Value
from serving.files.read_back import without_unknown_fields
from serving.models.manifest import SCENARIOS

GROUP: Final = "vedette.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
FINALIZER: Final = f"{GROUP}/release"
"""Finalizer: kept until the backend has removed what was made for the service."""
REQUESTS_ANNOTATION: Final = f"{GROUP}/requests"
"""A JSON list of operators.rollout.status.VerbRequest: verbs that the operator has not handled yet."""

ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$", max_length=253)]
ScenarioName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", max_length=63)]
ModelName = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9_.-]{0,126}[A-Za-z0-9])?$", max_length=128)]


class Metadata(Value):
    """The API server's metadata of a resource, the fields that are read here."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(max_length=253)] = ""
    """Name of the resource."""
    namespace: Annotated[str, Field(max_length=63)] | None = None
    """Its namespace; on this machine: local."""
    uid: str | None = None
    """Identity of this object; a new object of the same name has another."""
    generation: int = 0
    """Grows with every change of the spec."""
    annotations: Mapping[str, str] = Field(default_factory=dict)
    """One of them holds the verbs that wait."""


class PolicyRef(Value):
    """Names a RolloutPolicy in the same namespace."""

    name: ObjectName
    """Name of the RolloutPolicy."""


class RolloutChoice(Value):
    """How a change of revision is rolled out: by a shared policy or by steps of its own; without either by the default steps."""

    policy_ref: PolicyRef | None = None
    """A RolloutPolicy of the same namespace."""
    policy: RolloutSpec | None = None
    """The same fields as a RolloutPolicy's spec, written here."""

    @model_validator(mode="after")
    def _one(self) -> "RolloutChoice":
        if self.policy_ref is not None and self.policy is not None:
            raise RuleBroken("has both policyRef and policy; the steps come from one place: take one of them away")
        return self


class RayBackend(Value):
    """Served by a KubeRay RayService: revisions and weights change in its `user_config`, without a restart."""

    ray_service: ObjectName = "vedette"
    """Name of the RayService, in the same namespace. Several ModelServices may share one."""
    application: Annotated[str, Field(min_length=1, max_length=128)] = "vedette"
    """Application within serveConfigV2."""
    deployment: Annotated[str, Field(min_length=1, max_length=128)] = "Replica"
    """Deployment within the application."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of the replicas' pods that answers /metrics."""


class KserveBackend(Value):
    """Served by KServe: an InferenceService that the operator makes, running our ServingRuntime; weights by its canary fields."""

    inference_service: ObjectName | None = None
    """Name of the InferenceService [default: the resource's name]."""
    runtime: ObjectName = "vedette"
    """Name of the ServingRuntime or ClusterServingRuntime."""
    storage_uri: Annotated[str, Field(min_length=1, max_length=1024)]
    """Where KServe finds a bundle. `{digest}` becomes the 64 hex digits of its digest, `{model}` and `{version}` the others."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] = 8080
    """Port of the predictor's pods that answers /metrics."""

    @field_validator("storage_uri")
    @classmethod
    def _names_the_digest(cls, value: str) -> str:
        if "{digest}" not in value:
            raise RuleBroken(
                f"is {value} without {{digest}}, so stable and candidate would be the same files; "
                "write e.g. s3://bundles/{model}/{digest}"
            )
        return value


class BackendChoice(Value):
    """Where the service runs in a cluster; exactly one. It is not read on a single machine (`vedette up`)."""

    ray: RayBackend | None = None
    """A RayService of KubeRay."""
    kserve: KserveBackend | None = None
    """An InferenceService of KServe."""

    @model_validator(mode="after")
    def _one(self) -> "BackendChoice":
        if (self.ray is None) == (self.kserve is None):
            named = "neither ray nor kserve" if self.ray is None else "both ray and kserve"
            raise RuleBroken(f"names {named}; a service runs in one place: write exactly one of them")
        return self


class ModelServiceSpec(Value):
    """The model, its revision, the rollout of changes, and the backend."""

    model: ModelName | None = None
    """Name that clients call [default: the resource's name]."""
    revision: Revision
    """The wanted revision. A change of any part starts a rollout. The first revision is served at once."""
    rollout: RolloutChoice = RolloutChoice()
    """How a change is rolled out."""
    experiment: ExperimentSpec | None = None
    """An A/B test beside `revision`. It ends after its duration, by `vedette experiment`, or by removing this field."""
    backend: BackendChoice = BackendChoice(ray=RayBackend())
    """The backend. Its type cannot be changed later."""
    scaling: ScalingSpec | None = None
    """Scales the replicas by load, latency, schedule and stream. Unset: `replicas` sets the number."""
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """The number of replicas, set by a person or a HorizontalPodAutoscaler (scale subresource). It excludes `scaling`. Unset: the number
    that the backend has is kept."""
    scenarios: Annotated[tuple[ScenarioName, ...], Field(max_length=16)] = ()
    """Operating points that the service's bundles have besides breach_response, siem_alerting and executive_dashboard."""
    paused: bool = False
    """While true, no step passes automatically. Evidence is still gathered, and a worse candidate is still aborted."""

    @model_validator(mode="after")
    def _one_owner(self) -> "ModelServiceSpec":
        if self.replicas is not None and self.scaling is not None:
            raise RuleBroken(
                "is set together with scaling, and the count has one owner; take replicas away and let scaling.minReplicas and "
                "maxReplicas bound it, or take scaling away",
                "replicas",
            )
        return self

    @model_validator(mode="after")
    def _countable(self) -> "ModelServiceSpec":
        if self.backend.kserve is not None:
            policy = self.rollout.policy
            analyses: dict[tuple[str, ...], Analysis] = {("rollout", "policy"): policy.analysis} if policy is not None else {}
            analyses |= {("experiment",): self.experiment.analysis} if self.experiment is not None else {}
            for place, analysis in analyses.items():
                if analysis.entity_gates:
                    raise RuleBroken(uncountable(analysis), *place, "analysis", "gates")
        return self

    @model_validator(mode="after")
    def _known_scenarios(self) -> "ModelServiceSpec":
        known = (*SCENARIOS, *self.scenarios)
        point = self.revision.operating_point
        way_out = f"write one of {', '.join(SCENARIOS)}, or list it in spec.scenarios if the bundle has it"
        if point is not None and point not in known:
            raise RuleBroken(f"is {point}, an unknown scenario; {way_out}", "revision", "operatingPoint")
        for point in self.revision.thresholds:
            if point not in known:
                raise RuleBroken(f"names the unknown scenario {point}; {way_out}", "revision", "thresholds")
        for variant in self.experiment.variants if self.experiment else ():
            revision = variant.revision
            points = (*revision.thresholds, revision.operating_point or known[0]) if revision is not None else ()
            strange = [point for point in points if point not in known]
            if strange:
                raise RuleBroken(
                    f"the revision of variant {variant.name} names the unknown scenario {strange[0]}; {way_out}",
                    "experiment",
                    "variants",
                )
        return self


def uncountable(analysis: Analysis) -> str:
    """The problem, and the way out, of an analysis with entity gates on KServe."""
    return (
        f"has the gate {', '.join(analysis.entity_gates)} with unit: entity, which is never decided on KServe: a pod there does not "
        "know which entities met which variant; take unit away (a request is then one observation), or serve by the ray backend"
    )


class Condition(Value):
    """A Kubernetes condition: True, False or Unknown."""

    type: Annotated[str, Field(max_length=316)]
    """Ready, Progressing, Paused, Invalid... one condition a type."""
    status: Literal["True", "False", "Unknown"]
    """Whether the condition holds."""
    reason: Annotated[str, Field(max_length=1024)]
    """Reason, in one CamelCase word."""
    message: Annotated[str, Field(max_length=32768)] = ""
    """Reason, for people."""
    last_transition_time: datetime
    """When `status` last changed."""
    observed_generation: int = 0
    """The generation of the spec that the condition describes."""


class ModelServiceStatus(Value):
    """Where the service stands. Written by the operator only."""

    observed_generation: int = 0
    """The generation of the spec that this status describes."""
    conditions: tuple[Condition, ...] = ()
    """Conditions of the service, as Kubernetes tools read them."""
    phase: str = ""
    """Healthy, Progressing, Paused, Aborted, Experiment or Waiting (the served revision is not known yet)."""
    stable: str = ""
    """Version and short digest of the revision that serves."""
    candidate: str = ""
    """Version and short digest of the candidate. Empty: there is none."""
    step: str = ""
    """Current step and number of steps, e.g. 3/7."""
    weight: float = 0.0
    """Percentage of entities that the candidate serves."""
    verdict: str = ""
    """Verdict on the evidence: better, no_worse, worse, undecided or invalid. Empty: nothing is judged."""
    waiting_for: str = ""
    """What the rollout waits for, for people."""
    replicas: int = 0
    """Current number of replicas (scale subresource)."""
    selector: str = ""
    """Label selector of the replicas' pods (scale subresource)."""
    rollout: RolloutStatus | None = None
    """Full state of the rollout, on which the next decision is based."""


_Status = TypeVar("_Status", bound=Value)


class ModelService(Value):
    """One served model."""

    api_version: Literal["vedette.dev/v1alpha1"] = "vedette.dev/v1alpha1"
    """vedette.dev/v1alpha1"""
    kind: Literal["ModelService"] = "ModelService"
    """ModelService"""
    metadata: Metadata
    """Name, namespace, labels, annotations."""
    spec: ModelServiceSpec
    """The wanted state."""
    status: ModelServiceStatus = ModelServiceStatus()
    """The current state. Written by the operator only."""

    @field_validator("status", mode="wrap")
    @classmethod
    def _read_back(cls, kept: object, read: ValidatorFunctionWrapHandler) -> ModelServiceStatus:
        return _written_by_an_operator(ModelServiceStatus, kept, read)

    @property
    def ref(self) -> ServiceRef:
        """How backends and people call it."""
        return ServiceRef(self.metadata.namespace or "local", self.metadata.name, self.spec.model or self.metadata.name)


class RolloutPolicyStatus(Value):
    """The services that use the policy. Written by the operator only."""

    observed_generation: int = 0
    """The generation of the spec that this status describes."""
    conditions: tuple[Condition, ...] = ()
    """The condition Valid: whether services can use the policy."""
    services: int = 0
    """ModelServices of the namespace that name the policy."""


class RolloutPolicy(Value):
    """Steps and gates that several services share."""

    api_version: Literal["vedette.dev/v1alpha1"] = "vedette.dev/v1alpha1"
    """vedette.dev/v1alpha1"""
    kind: Literal["RolloutPolicy"] = "RolloutPolicy"
    """RolloutPolicy"""
    metadata: Metadata
    """Name, namespace, labels, annotations."""
    spec: RolloutSpec = RolloutSpec()
    """The steps and gates."""
    status: RolloutPolicyStatus = RolloutPolicyStatus()
    """The services that use the policy. Written by the operator only."""

    @field_validator("status", mode="wrap")
    @classmethod
    def _read_back(cls, kept: object, read: ValidatorFunctionWrapHandler) -> RolloutPolicyStatus:
        return _written_by_an_operator(RolloutPolicyStatus, kept, read)


def _written_by_an_operator(kind: type[_Status], kept: object, read: ValidatorFunctionWrapHandler) -> _Status:
    """A status, which another release of the operator may have written; the spec beside it is read strictly."""
    try:
        found: _Status = read(kept)
    except ValidationError as problem:
        return without_unknown_fields(kind.__name__, problem, lambda: kind.model_validate(kept, extra="ignore"))
    return found


def rollout_of(service: ModelService, policy: RolloutPolicy | None = None) -> RolloutSpec:
    """The rollout a service follows: its own, else that of the policy it names, else the default (without a mirror on KServe).

    policy: the one that `policyRef` names. Raises LookupError if it is named and not given, or cannot be followed on the backend."""
    choice = service.spec.rollout
    if choice.policy is not None:
        return choice.policy
    on_kserve = service.spec.backend.kserve is not None
    if choice.policy_ref is None:
        return RolloutSpec(steps=UNMIRRORED_STEPS) if on_kserve else RolloutSpec()
    if policy is None or policy.metadata.name != choice.policy_ref.name:
        raise LookupError(
            f"ModelService {service.ref.namespace}/{service.ref.name}: spec.rollout.policyRef.name is {choice.policy_ref.name!r}, "
            f"and namespace {service.ref.namespace} has no such RolloutPolicy; create it, or name one of `kubectl get rolloutpolicies`"
        )
    if on_kserve and policy.spec.analysis.entity_gates:
        raise LookupError(
            f"ModelService {service.ref.namespace}/{service.ref.name}: RolloutPolicy {choice.policy_ref.name} "
            f"{uncountable(policy.spec.analysis)}"
        )
    return policy.spec
