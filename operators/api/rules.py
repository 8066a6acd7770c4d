"""The rules that a schema cannot express, as CEL in the CRD; the API server evaluates them.

Data, by the class or `Class.field` they hold for. Only functions that Kubernetes knows since 1.29, so that 1.30 takes the CRDs.
Values are shown by `format`, because the API server cannot bound the cost of joining texts and would refuse the CRD. Every rule
about a value is also a validator of its type, which lint and the webhook read; tests hold both to the same examples."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from serving.models.manifest import SCENARIOS


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: CEL that must be true, and the message if it is not.

    wrong: what is wrong. way_out: what to do. shows: `wrong` with %s where values belong, and `of`, the CEL of those values; `wrong`
    stands in where that cannot be evaluated. field: the part to blame, relative (.steps). A rule that names oldSelf holds for
    changes only."""

    rule: str
    wrong: str
    way_out: str
    shows: str = ""
    of: str = ""
    field: str = ""

    @property
    def message(self) -> str:
        """In words that fit any value."""
        return f"{self.wrong}; {self.way_out}"

    def as_resource(self) -> dict[str, Any]:
        """As it stands in a CRD."""
        out: dict[str, Any] = {"rule": self.rule, "message": self.message}
        if self.shows:
            words = f"{self.shows}; {self.way_out}".replace("\\", "\\\\").replace('"', '\\"')
            out["messageExpression"] = f'"{words}".format([{self.of}])'
        return out | ({"fieldPath": self.field} if self.field else {})


def rules_of(place: str) -> tuple[Rule, ...]:
    """Of a class, or of a field as `Class.field`."""
    return RULES.get(place, ())


def duration(at_least: str = "", at_most: str = "") -> Rule:
    """Of every field that holds a duration. Bounds are of hours at most: CEL's own durations know no days."""
    limits = [f"duration(self) >= duration('{at_least}')"] if at_least else []
    limits += [f"duration(self) <= duration('{at_most}')"] if at_most else []
    pattern = "self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h|d))+$')" + (" && !self.contains('d')" if limits else "")
    wanted = f"a duration of {at_least or '0s'} to {at_most}" if limits else "a duration"
    return Rule(
        " && ".join((pattern, *limits)),
        f"is not {wanted}",
        "write e.g. 30s or 5m",
        f"is %s, expected {wanted}",
        "self",
    )


def _percent(what: str, example: str) -> Rule:
    way_out = f"write the percentage of {what}, e.g. {example}"
    return Rule("self >= 0.0 && self <= 100.0", "is not within 0 to 100", way_out, "is %s, expected 0 to 100", "self")


def _distinct(field: str, what: str) -> Rule:
    return Rule(
        f"self.{field}.all(a, self.{field}.exists_one(b, b.name == a.name))",
        f"{what} repeat a name",
        "name each once",
        f"{what} %s repeat a name",
        f"self.{field}.map(a, a.name)",
        f".{field}",
    )


_BOUNDS: Final = Rule(
    "!has(self.minReplicas) || !has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
    "is above maxReplicas",
    "write bounds that contain a number",
    "is %s, above maxReplicas %s",
    "self.minReplicas, self.maxReplicas",
    ".minReplicas",
)
_STEPS: Final = ("mirror", "setWeight", "pause", "analysis", "approval", "setReplicas")
_SAID: Final = "[" + ", ".join(f"has(self.{kind}) ? '{kind}' : ''" for kind in _STEPS) + "].filter(kind, kind != '')"
_WEIGHTED: Final = "self.steps.filter(s, has(s.setWeight))"
_MET: Final = "self.steps.filter(s, has(s.mirror) || (has(s.setWeight) && s.setWeight > 0.0))"

_KNOWN: Final = f"[{', '.join(repr(s) for s in SCENARIOS)}]"
_LISTED: Final = "(has(self.scenarios) ? self.scenarios : [])"
_SCENARIO_WAY_OUT: Final = f"write one of {', '.join(SCENARIOS)}, or list it in spec.scenarios if the bundle has it"


def _unknown(point: str) -> str:
    return f"!({point} in {_KNOWN} || {point} in {_LISTED})"


_POINT: Final = "self.revision.operatingPoint"
_THRESHOLDS: Final = "self.revision.thresholds"
_VARIANTS: Final = "self.experiment.variants"
_STRANGE_VARIANT: Final = (
    f"v, has(v.revision) && ((has(v.revision.operatingPoint) && {_unknown('v.revision.operatingPoint')}) || "
    f"(has(v.revision.thresholds) && v.revision.thresholds.exists(p, {_unknown('p')})))"
)


def _countable(analysis: str) -> Rule:
    """A service on KServe counts no entities. analysis: its place below the spec."""
    parts = f"self.{analysis}.gates".split(".")
    there = " && ".join(f"has({'.'.join(parts[:n])})" for n in range(2, len(parts) + 1))
    gates, by_entity = ".".join(parts), "g, has(g.unit) && g.unit == 'entity'"
    return Rule(
        f"!(has(self.backend) && has(self.backend.kserve) && {there}) || !{gates}.exists({by_entity})",
        "has a gate with unit: entity, which is never decided on KServe: a pod there does not know which entities met which variant",
        "take unit away (a request is then one observation), or serve by the ray backend",
        "has the gate %s with unit: entity, which is never decided on KServe: a pod there does not know which entities met which variant",
        f"{gates}.filter({by_entity})[0].name",
        gates.removeprefix("self"),
    )


def _fixed(what: str) -> Rule:
    return Rule(
        "self == oldSelf",
        f"the {what} cannot be changed, because the model would stay served at the old one",
        "make a second ModelService that names the other one, move the traffic, then delete this one",
        "is %s, and the " + what + " cannot be changed, because the model would stay served at the old one",
        "self",
    )


RULES: Final[Mapping[str, tuple[Rule, ...]]] = {
    "Revision.bundle": (
        Rule(
            "self.matches('^sha256:[0-9a-f]{64}$')",
            "is not a digest",
            "write the one that `vedette bundle show` prints; a tag can move under a running rollout",
            "is %s, expected a digest, sha256: and 64 hex digits",
            "self",
        ),
    ),
    "MirrorStep.percent": (_percent("requests that are mirrored", "percent: 100"),),
    "Step.setWeight": (_percent("entities that meet the candidate", "setWeight: 20"),),
    "ExperimentVariant.weight": (_percent("entities that meet the variant", "weight: 50"),),
    "Step": (
        Rule(
            f"{_SAID}.size() == 1",
            "a step does one thing",
            f"write exactly one of {', '.join(_STEPS)}",
            "a step does one thing, this one says %s",
            _SAID,
        ),
    ),
    "Analysis": (_distinct("gates", "gates"),),
    "RolloutSpec": (
        Rule(
            f"{_WEIGHTED}.map(s, s.setWeight).isSorted()",
            "weights fall within a rollout, so entities would move back and forth",
            "write them in rising order",
            "weights are %s, and a fall would move entities back and forth",
            f"{_WEIGHTED}.map(s, string(s.setWeight))",
            ".steps",
        ),
        Rule(
            f"!has(self.alertBudget) || ({_MET}.size() > 0 && has({_MET}[0].mirror))",
            "needs mirrored scores before the candidate gets traffic",
            "add a mirror step before the first setWeight above 0",
            field=".alertBudget",
        ),
    ),
    "ExperimentSpec": (
        _distinct("variants", "variants"),
        Rule(
            "self.variants.map(v, v.weight).sum() > 99.999999 && self.variants.map(v, v.weight).sum() < 100.000001",
            "weights do not sum to 100",
            "write percentages of all entities",
            "weights sum to %s, expected 100",
            "self.variants.map(v, v.weight).sum()",
            ".variants",
        ),
    ),
    "RolloutChoice": (
        Rule(
            "!(has(self.policyRef) && has(self.policy))",
            "has both policyRef and policy",
            "the steps come from one place: take one of them away",
        ),
    ),
    "BackendChoice": (
        Rule(
            "has(self.ray) != has(self.kserve)",
            "names neither ray nor kserve, or both",
            "a service runs in one place: write exactly one of them",
        ),
        Rule(
            "has(self.ray) == has(oldSelf.ray) && has(self.kserve) == has(oldSelf.kserve)",
            "the type of backend cannot be changed",
            "make a second ModelService on the other backend, move the traffic, then delete this one",
        ),
    ),
    "RayBackend.rayService": (_fixed("RayService"),),
    "RayBackend.application": (_fixed("application"),),
    "RayBackend.deployment": (_fixed("deployment"),),
    "KserveBackend": (
        Rule(
            "has(self.inferenceService) == has(oldSelf.inferenceService) && "
            "(!has(self.inferenceService) || self.inferenceService == oldSelf.inferenceService)",
            "the InferenceService cannot be changed, because the model would stay served at the old one",
            "make a second ModelService that names the other one, move the traffic, then delete this one",
            field=".inferenceService",
        ),
    ),
    "KserveBackend.storageUri": (
        Rule(
            "self.contains('{digest}')",
            "does not name {digest}, so stable and candidate would be the same files",
            "write e.g. s3://bundles/{model}/{digest}",
            "is %s without {digest}, so stable and candidate would be the same files",
            "self",
        ),
    ),
    "StepLimit.per": (duration("1s", "1h"),),
    **{f"ScalingSpec.{field}": (duration("0s", "1h"),) for field in ("lookBack", "startUp", "upWindow", "downWindow")},
    "ScheduleWindow.start": (
        Rule(
            "self.matches('^ *[^ ]+( +[^ ]+){4} *$')",
            "is not a cron expression of five fields (minute, hour, day of month, month, day of week)",
            "write e.g. 0 8 * * MON-FRI",
            "is %s, expected a cron expression of five fields (minute, hour, day of month, month, day of week)",
            "self",
        ),
    ),
    "ScheduleWindow": (
        Rule(
            "has(self.minReplicas) || has(self.maxReplicas)",
            "the window changes nothing",
            "give it minReplicas, maxReplicas or both",
        ),
        _BOUNDS,
    ),
    "ScalingSpec": (_BOUNDS, _distinct("schedule", "windows")),
    "ModelServiceSpec": (
        Rule(
            "!(has(self.replicas) && has(self.scaling))",
            "is set together with scaling, and the count has one owner",
            "take replicas away and let scaling.minReplicas and maxReplicas bound it, or take scaling away",
            field=".replicas",
        ),
        Rule(
            f"!has({_POINT}) || !{_unknown(_POINT)}",
            "is an unknown scenario",
            _SCENARIO_WAY_OUT,
            "is %s, an unknown scenario",
            _POINT,
            ".revision.operatingPoint",
        ),
        Rule(
            f"!has({_THRESHOLDS}) || !{_THRESHOLDS}.exists(p, {_unknown('p')})",
            "names an unknown scenario",
            _SCENARIO_WAY_OUT,
            "names the unknown scenario %s",
            f"{_THRESHOLDS}.filter(p, {_unknown('p')})[0]",
            ".revision.thresholds",
        ),
        Rule(
            f"!has(self.experiment) || !{_VARIANTS}.exists({_STRANGE_VARIANT})",
            "the revision of a variant names an unknown scenario",
            _SCENARIO_WAY_OUT,
            "the revision of variant %s names an unknown scenario",
            f"{_VARIANTS}.filter({_STRANGE_VARIANT})[0].name",
            ".experiment.variants",
        ),
        _countable("rollout.policy.analysis"),
        _countable("experiment.analysis"),
        Rule(
            "has(self.model) == has(oldSelf.model) && (!has(self.model) || self.model == oldSelf.model)",
            "the model cannot be changed, because the rollout's state is of the model that is served",
            "make a second ModelService",
            field=".model",
        ),
    ),
}
"""By place. Durations have theirs by their pattern, see operators.api.schema."""
