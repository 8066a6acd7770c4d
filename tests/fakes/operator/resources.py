"""ModelServices and RolloutPolicies as people write them: good ones, and bad ones with the words that must come back.

One corpus for every judge: `lint`, the fake API server with the generated CRDs, and a real API server where there is one."""

import copy
from typing import Any, NamedTuple

from operators.api.types import API_VERSION

DIGEST = "sha256:" + "a1" * 32
OTHER = "sha256:" + "b2" * 32
REVISION = {"version": "7", "bundle": DIGEST, "operatingPoint": "siem_alerting"}


class Bad(NamedTuple):
    """A resource that must be refused.

    path: what is blamed. says: fragments of the message, the value and the way out among them. old: the resource before this
    change. is_schema: refused by type alone, in the API server's own words, so only `path` is held. faults: how many there are."""

    rule: str
    document: dict[str, Any]
    path: str
    says: tuple[str, ...]
    old: dict[str, Any] | None = None
    is_schema: bool = False
    faults: int = 1


def service(name: str = "flows", **spec: Any) -> dict[str, Any]:
    """A ModelService; `spec` over the least that is needed."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelService",
        "metadata": {"name": name},
        "spec": {"revision": copy.deepcopy(REVISION), **spec},
    }


def policy(name: str = "careful", **spec: Any) -> dict[str, Any]:
    """A RolloutPolicy."""
    return {"apiVersion": API_VERSION, "kind": "RolloutPolicy", "metadata": {"name": name}, "spec": spec}


def revision(**fields: Any) -> dict[str, Any]:
    """A revision; `fields` over a good one."""
    return {**REVISION, **fields}


def steps(*some: Any, **rollout: Any) -> dict[str, Any]:
    """A ModelService that brings its own steps."""
    return service(rollout={"policy": {"steps": list(some), **rollout}})


def variants(*some: tuple[str, float], **more: Any) -> dict[str, Any]:
    """A ModelService with an experiment."""
    listed = [{"name": name, "weight": weight, "revision": revision(version=str(n))} for n, (name, weight) in enumerate(some)]
    return service(experiment={"variants": listed, **more})


KSERVE = {"kserve": {"storageUri": "s3://bundles/{model}/{digest}"}}
WINDOW = {"name": "day", "start": "0 8 * * MON-FRI", "duration": "10h", "minReplicas": 4}

GOOD = {
    "the least": service(),
    "steps of its own": steps(
        {"mirror": {"percent": 50}},
        {"analysis": {"minRequests": 500, "maxDuration": "2h"}},
        {"setWeight": 0},
        {"setWeight": 2.5},
        {"pause": {"duration": "10m"}},
        {"pause": {}},
        {"setReplicas": {"replicas": 3}},
        {"approval": {"approvers": 2, "groups": ["soc"]}},
        {"setWeight": 100},
        alertBudget={"tolerance": 0.2},
        progressDeadline="1d12h",
    ),
    "no progress deadline": steps({"setWeight": 100}, progressDeadline=None),
    "a policy by name": service(rollout={"policyRef": {"name": "careful"}}),
    "an experiment": variants(("red", 33.4), ("blue", 33.3), ("green", 33.3), duration="3d"),
    "a scenario of the bundle's own": service(
        revision=revision(operatingPoint="night_shift", thresholds={"night_shift": 0.4}), scenarios=["night_shift"]
    ),
    "kserve": service(backend=KSERVE),
    "scaled by load and schedule": service(scaling={"minReplicas": 2, "maxReplicas": 8, "schedule": [WINDOW]}),
    "a count": service(replicas=3),
    "nulls where something is left out": service(scenarios=None, replicas=None, rollout=None, backend=None),
    "a policy": policy(steps=[{"mirror": {}}, {"analysis": {}}, {"setWeight": 100}]),
    "the default policy": policy(),
}

BAD = (
    Bad(
        "a weight above 100",
        steps({"setWeight": 5}, {"setWeight": 120}),
        "spec.rollout.policy.steps[1].setWeight",
        ("120", "expected 0 to 100", "setWeight: 20"),
    ),
    Bad("a weight below 0", steps({"setWeight": -1}), "spec.rollout.policy.steps[0].setWeight", ("-1", "expected 0 to 100")),
    Bad(
        "weights that fall",
        steps({"setWeight": 25}, {"analysis": {}}, {"setWeight": 5}),
        "spec.rollout.policy.steps",
        ('["25", "5"]', "write them in rising order"),
    ),
    Bad(
        "weights that fall, in a policy",
        policy(steps=[{"setWeight": 50}, {"setWeight": 10}]),
        "spec.steps",
        ('["50", "10"]', "write them in rising order"),
    ),
    Bad(
        "a step that does two things",
        steps({"setWeight": 5, "pause": {}}),
        "spec.rollout.policy.steps[0]",
        ('["setWeight", "pause"]', "write exactly one of mirror, setWeight"),
    ),
    Bad(
        "a step that does nothing", steps({}), "spec.rollout.policy.steps[0]", ("[]", "write exactly one of mirror, setWeight")
    ),
    Bad(
        "a tag instead of a digest",
        service(revision=revision(bundle="flows:latest")),
        "spec.revision.bundle",
        ("flows:latest", "expected a digest", "vedette bundle show"),
    ),
    Bad(
        "a digest that is cut short",
        service(revision=revision(bundle=DIGEST[:-1])),
        "spec.revision.bundle",
        (DIGEST[:-1], "64 hex digits", "vedette bundle show"),
    ),
    Bad(
        "an unknown scenario",
        service(revision=revision(operatingPoint="breech_response")),
        "spec.revision.operatingPoint",
        ("breech_response", "breach_response, siem_alerting, executive_dashboard", "list it in spec.scenarios"),
    ),
    Bad(
        "a threshold of an unknown scenario",
        service(revision=revision(thresholds={"siem_alerting": 0.5, "siem": 0.5})),
        "spec.revision.thresholds",
        ("scenario siem", "list it in spec.scenarios"),
    ),
    Bad(
        "an unknown scenario in an experiment",
        service(
            experiment={
                "variants": [
                    {"name": "red", "weight": 50},
                    {"name": "blue", "weight": 50, "revision": revision(operatingPoint="zen")},
                ]
            }
        ),
        "spec.experiment.variants",
        ("blue", "unknown scenario", "list it in spec.scenarios"),
    ),
    Bad(
        "weights of an experiment over 100",
        variants(("red", 60), ("blue", 50)),
        "spec.experiment.variants",
        ("110", "expected 100"),
    ),
    Bad(
        "weights of an experiment that make up for each other",
        variants(("red", 150), ("blue", -50)),
        "spec.experiment.variants[0].weight",
        ("150", "expected 0 to 100", "weight: 50"),
        faults=2,
    ),
    Bad(
        "more than everything mirrored",
        steps({"mirror": {"percent": 200}}),
        "spec.rollout.policy.steps[0].mirror.percent",
        ("200", "expected 0 to 100", "percent: 100"),
    ),
    Bad(
        "variants of one name",
        variants(("red", 50), ("red", 50)),
        "spec.experiment.variants",
        ('["red", "red"]', "name each once"),
    ),
    Bad("one variant alone", variants(("red", 100)), "spec.experiment.variants", (), is_schema=True),
    Bad("no backend", service(backend={}), "spec.backend", ("neither", "write exactly one of them")),
    Bad(
        "two backends",
        service(backend={"ray": {}, **KSERVE}),
        "spec.backend",
        ("both", "write exactly one of them"),
    ),
    Bad(
        "another backend later",
        service(backend=KSERVE),
        "spec.backend",
        ("cannot be changed", "make a second ModelService"),
        old=service(),
    ),
    Bad(
        "another model later",
        service(model="dns"),
        "spec.model",
        ("cannot be changed", "make a second ModelService"),
        old=service(model="flows"),
    ),
    Bad(
        "the same files for every revision",
        service(backend={"kserve": {"storageUri": "s3://bundles/flows"}}),
        "spec.backend.kserve.storageUri",
        ("s3://bundles/flows", "without {digest}", "e.g. s3://bundles/"),
    ),
    Bad(
        "entities on KServe",
        service(
            backend=KSERVE,
            rollout={"policy": {"analysis": {"gates": [{"name": "alertRate", "margin": 0.02, "unit": "entity"}]}}},
        ),
        "spec.rollout.policy.analysis.gates",
        ("alertRate", "unit: entity", "KServe", "take unit away"),
    ),
    Bad(
        "entities in an experiment on KServe",
        service(
            backend=KSERVE,
            experiment={
                "variants": [
                    {"name": "red", "weight": 50, "revision": revision(version="1")},
                    {"name": "blue", "weight": 50, "revision": revision(version="2")},
                ],
                "analysis": {"gates": [{"name": "errors", "margin": 0.02, "unit": "entity"}]},
            },
        ),
        "spec.experiment.analysis.gates",
        ("errors", "unit: entity", "KServe", "take unit away"),
    ),
    Bad(
        "another RayService",
        service(backend={"ray": {"rayService": "new"}}),
        "spec.backend.ray.rayService",
        ("cannot be changed", "make a second ModelService"),
        old=service(backend={"ray": {"rayService": "old"}}),
    ),
    Bad(
        "another application of the RayService",
        service(backend={"ray": {"application": "new"}}),
        "spec.backend.ray.application",
        ("cannot be changed", "make a second ModelService"),
        old=service(),
    ),
    Bad(
        "another deployment of the application",
        service(backend={"ray": {"deployment": "New"}}),
        "spec.backend.ray.deployment",
        ("cannot be changed", "make a second ModelService"),
        old=service(),
    ),
    Bad(
        "another InferenceService",
        service(backend={"kserve": {**KSERVE["kserve"], "inferenceService": "new"}}),
        "spec.backend.kserve.inferenceService",
        ("cannot be changed", "make a second ModelService"),
        old=service(backend=KSERVE),
    ),
    Bad(
        "two owners of the replica count",
        service(replicas=3, scaling={}),
        "spec.replicas",
        ("one owner", "take replicas away"),
    ),
    Bad(
        "bounds that hold no number",
        service(scaling={"minReplicas": 5, "maxReplicas": 2}),
        "spec.scaling.minReplicas",
        ("5", "above maxReplicas 2", "write bounds"),
    ),
    Bad(
        "a window that changes nothing",
        service(scaling={"schedule": [{"name": "day", "start": "0 8 * * *", "duration": "1h"}]}),
        "spec.scaling.schedule[0]",
        ("changes nothing", "give it minReplicas"),
    ),
    Bad(
        "a start that is no schedule",
        service(scaling={"schedule": [{**WINDOW, "start": "weekdays at eight"}]}),
        "spec.scaling.schedule[0].start",
        ("weekdays at eight", "five fields", "0 8 * * MON-FRI"),
    ),
    Bad(
        "windows of one name",
        service(scaling={"schedule": [WINDOW, WINDOW]}),
        "spec.scaling.schedule",
        ('["day", "day"]', "name each once"),
    ),
    Bad(
        "a memory of days",
        service(scaling={"lookBack": "2h"}),
        "spec.scaling.lookBack",
        ("2h", "0s to 1h"),
    ),
    Bad(
        "a limit over a day",
        service(scaling={"downLimit": {"replicas": 1, "percent": 10, "per": "1d"}}),
        "spec.scaling.downLimit.per",
        ("1d", "1s to 1h"),
    ),
    Bad(
        "steps from two places",
        service(rollout={"policyRef": {"name": "careful"}, "policy": {}}),
        "spec.rollout",
        ("policyRef and policy", "take one of them away"),
    ),
    Bad(
        "a gate twice",
        steps({"analysis": {}}, analysis={"gates": [{"name": "errors"}, {"name": "errors", "margin": 0.1}]}),
        "spec.rollout.policy.analysis.gates",
        ('["errors", "errors"]', "name each once"),
    ),
    Bad(
        "an unknown gate",
        steps(analysis={"gates": [{"name": "vibes"}]}),
        "spec.rollout.policy.analysis.gates[0].name",
        (),
        is_schema=True,
    ),
    Bad(
        "a budget without a mirror",
        steps({"setWeight": 100}, alertBudget={}),
        "spec.rollout.policy.alertBudget",
        ("mirrored scores", "add a mirror step"),
    ),
    Bad(
        "a budget after people have met the candidate",
        steps({"setWeight": 5}, {"mirror": {}}, {"analysis": {}}, {"setWeight": 25}, alertBudget={}),
        "spec.rollout.policy.alertBudget",
        ("mirrored scores", "add a mirror step before the first setWeight"),
    ),
    Bad(
        "a duration in words",
        steps({"pause": {"duration": "5 minutes"}}),
        "spec.rollout.policy.steps[0].pause.duration",
        ("5 minutes", "write e.g. 30s or 5m"),
    ),
    Bad(
        "a duration without its unit",
        steps({"pause": {"duration": 30}}),
        "spec.rollout.policy.steps[0].pause.duration",
        (),
        is_schema=True,
    ),
    Bad("a version without quotes", service(revision=revision(version=7)), "spec.revision.version", (), is_schema=True),
    Bad("a weight in quotes", steps({"setWeight": "5"}), "spec.rollout.policy.steps[0].setWeight", (), is_schema=True),
    Bad("a weight that is null", steps({"setWeight": None}), "spec.rollout.policy.steps[0]", ("[]", "write exactly one of")),
    Bad("no revision", service(revision=None), "spec.revision", (), is_schema=True),
    Bad("no certainty at all", steps(analysis={"alpha": 0}), "spec.rollout.policy.analysis.alpha", (), is_schema=True),
)
