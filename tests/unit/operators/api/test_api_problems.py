"""Which resources are refused, where the fault is seen, and what is said."""

import copy
import json
from functools import cache

import pytest

from operators.api.read import KINDS, ApiError, check, problems, read
from operators.api.rules import RULES
from operators.api.schema import structural
from operators.api.schema_check import defaulted, where
from operators.api.types import ModelService, RolloutPolicy
from tests.fakes.apiserver.admitting.rules import judge as evaluated
from tests.fakes.apiserver.failures import Refused
from tests.fakes.operator.resources import BAD, GOOD, policy, service, steps

JUDGED = [pytest.param(bad, id=bad.rule) for bad in BAD if bad.old is None]


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_taken(document):
    before = copy.deepcopy(document)
    assert problems(document) == ()
    assert isinstance(check(document), ModelService | RolloutPolicy)
    assert document == before


@pytest.mark.parametrize("bad", JUDGED)
def test_refused_with_place_value_and_way_out(bad):
    found = problems(bad.document)
    said = [str(f) for f in found if where(f.path) == bad.path]
    assert said, [str(f) for f in found]
    assert any(all(fragment in words for fragment in bad.says) for words in said), said
    assert len(found) == bad.faults, "one fault, one problem"


@pytest.mark.parametrize("bad", [pytest.param(b, id=b.rule) for b in BAD if b.old is None and not b.is_schema])
def test_a_value_that_exists_obeys_every_rule(bad):
    with pytest.raises(ApiError) as caught:
        read(bad.document)
    assert caught.value.problems


@pytest.mark.parametrize("bad", [pytest.param(b, id=b.rule) for b in BAD if b.old is not None])
def test_rules_about_changes_are_for_the_api_server_alone(bad):
    assert problems(bad.document) == ()
    assert check(bad.document)
    assert not _by_rules(bad.document)
    assert not _by_rules(bad.document, bad.document)
    assert _by_rules(bad.document, bad.old)


@cache
def _schema(kind):
    return structural(KINDS[kind])


@cache
def _told(rule, path):
    """What the CEL rules of the CRD say of an example."""
    (bad,) = (bad for bad in BAD if (bad.rule, bad.path) == (rule, path))
    return _by_rules(bad.document, bad.old)


def _by_rules(document, old=None):
    """What the CEL rules of the CRD say."""
    schema = _schema(document["kind"])
    try:
        causes = evaluated(schema, defaulted(schema, document), None if old is None else defaulted(schema, old))
    except Refused:
        return []  # not even of the right type
    return [f"{cause.field}: {cause.message}" for cause in causes]


@pytest.mark.parametrize("bad", [pytest.param(b, id=b.rule) for b in BAD if not b.is_schema])
def test_the_rules_of_the_crd_refuse_the_same_with_place_value_and_way_out(bad):
    causes = [line for line in _told(bad.rule, bad.path) if line.startswith(f"{bad.path}: ")]
    assert any(all(fragment in line for fragment in bad.says) for line in causes), causes


def test_every_rule_has_an_example_that_breaks_it():
    told = [line for bad in BAD for line in _told(bad.rule, bad.path)]
    words = {
        (place, rule.rule): [*(rule.shows or rule.wrong).split("%s"), rule.way_out] for place in RULES for rule in RULES[place]
    }
    assert not [place for place, parts in words.items() if not any(all(p in line for p in parts) for line in told)]


def test_several_faults_are_told_at_once():
    document = steps({"setWeight": 500}, {})
    document["spec"]["revision"]["bundle"] = "flows:latest"
    document["spec"]["paus"] = True
    paths = {where(f.path) for f in problems(document)}
    assert paths == {
        "spec.revision.bundle",
        "spec.rollout.policy.steps[0].setWeight",
        "spec.rollout.policy.steps[1]",
        "spec.paus",
    }


def test_an_unknown_field_is_met_with_the_one_that_was_meant():
    (found,) = problems(service(replica=3))
    assert str(found).startswith("spec.replica: is no field here; did you mean replicas?")


@pytest.mark.parametrize(
    ("document", "says"),
    [
        pytest.param({"kind": "ModelService"}, "expected vedette.dev/v1alpha1", id="no version"),
        pytest.param({**service(), "apiVersion": "vedette.dev/v2"}, "expected vedette.dev/v1alpha1", id="another version"),
        pytest.param({**service(), "kind": "Modelservice"}, "ModelService or RolloutPolicy", id="another kind"),
        pytest.param({**service(), "metadata": {}}, "every resource has a name", id="no name"),
        pytest.param({**service(), "metadata": None}, "every resource has a name", id="no metadata"),
        pytest.param({**service(), "spec": []}, "expected fields below it", id="a list for a spec"),
    ],
)
def test_what_is_no_resource_of_ours_is_said_to_be_none(document, says):
    (found,) = problems(document)
    assert says in str(found)
    with pytest.raises(ApiError, match=says):
        check(document)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../etc/passwd"])
def test_what_only_the_types_know_is_refused_as_well(zone):
    window = {"name": "day", "start": "0 8 * * *", "duration": "1h", "minReplicas": 1, "timeZone": zone}
    (found,) = problems(service(scaling={"schedule": [window]}))
    assert where(found.path) == "spec.scaling.schedule[0].timeZone"
    assert "write e.g. UTC" in found.what


def test_the_status_of_a_resource_is_not_judged():
    assert problems({**service(), "status": {"phase": "Whatever", "rollout": {"stepIndex": 3}}}) == ()


def test_reading_gives_the_values_that_were_written():
    document = policy(steps=[{"setWeight": 5}, {"pause": {"duration": "1h30m"}}])
    found = check(document)
    assert isinstance(found, RolloutPolicy)
    assert json.loads(found.spec.steps[1].model_dump_json(by_alias=True, exclude_none=True)) == {"pause": {"duration": "1h30m"}}


@pytest.mark.parametrize("duration", ["99999999999999d", "9" * 31 + "h", "40000d"])
def test_a_duration_that_no_clock_can_add_is_refused_and_not_a_crash(duration):
    document = steps({"pause": {"duration": duration}})
    with pytest.raises(ApiError, match="at most 36500d"):
        read(document)
    (found,) = problems(document)
    assert where(found.path) == "spec.rollout.policy.steps[0].pause.duration"
    assert "at most 36500d" in found.what
