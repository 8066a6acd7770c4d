"""`vedette rollout lint`: files in, notes with lines out; what is refused and what is only unwise."""

import json
import textwrap

import pytest
import yaml
from typer.testing import CliRunner

from operators.api.documents import MAX_FIELDS, NotYaml, documents
from operators.api.hints import hints
from operators.api.lint import lint
from operators.api.read import check
from operators.cli.main import app
from operators.rollout.spec import RolloutSpec
from tests.counting import calls_in
from tests.fakes.operator.resources import BAD, DIGEST, GOOD, policy, revision, service, steps

SERVICE = f"""\
apiVersion: vedette.dev/v1alpha1
kind: ModelService
metadata:
  name: flows
spec:
  revision:
    version: "7"
    bundle: {DIGEST}
"""


def notes(text: str, name: str = "f.yaml") -> list[str]:
    return [str(n) for n in lint([(name, text)]).notes]


def test_a_note_says_file_line_resource_place_fault_and_way_out():
    (said,) = notes(SERVICE + "  rollout:\n    policy:\n      steps:\n      - setWeight: 120\n")
    assert said == (
        "f.yaml:12: error: ModelService flows: spec.rollout.policy.steps[0].setWeight: is 120, expected 0 to 100; "
        "write the percentage of entities that meet the candidate, e.g. setWeight: 20"
    )


@pytest.mark.parametrize("bad", [pytest.param(b, id=b.rule) for b in BAD if b.old is None])
def test_everything_bad_is_found_in_a_file(bad):
    report = lint([("f.yaml", yaml.safe_dump(bad.document))])
    assert report.errors == bad.faults
    assert bad.path in {n.path for n in report.notes}


@pytest.mark.parametrize("document", GOOD.values(), ids=GOOD)
def test_nothing_good_is_refused(document):
    assert lint([("f.yaml", yaml.safe_dump(document))]).errors == 0


def test_documents_of_other_kinds_are_passed_over_and_counted():
    report = lint([("f.yaml", "kind: Service\napiVersion: v1\n---\n" + SERVICE + "---\n# nothing\n---\n- 1\n")])
    assert (report.resources, report.skipped, report.errors) == (1, 2, 0)


def test_a_list_as_kubectl_prints_it_is_judged_item_by_item():
    item = textwrap.indent(SERVICE + "paus: true\n", "  ").replace("  ", "- ", 1)
    report = lint([("f.yaml", f"apiVersion: v1\nkind: List\nitems:\n- kind: Service\n{item}")])
    assert (report.resources, report.skipped) == (1, 1)
    assert [(n.line, n.subject, n.path) for n in report.notes] == [(13, "ModelService flows", "paus")]


@pytest.mark.parametrize(
    ("edit", "line", "says"),
    [
        pytest.param(('"7"', "7"), 7, 'put it into quotes if it is meant: "7"', id="a number that should be text"),
        pytest.param(('"7"', "on"), 7, "put it into quotes", id="a word that YAML reads as true"),
        pytest.param(('"7"', "2024-01-02"), 7, "'^[0-9]", id="a date stays text, as in JSON"),
        pytest.param(
            ('"7"', '"7"\n    version: "8"'), 8, "is written twice, here and in line 7", id="a key that is written twice"
        ),
        pytest.param(("v1alpha1", "v1"), 2, "expected vedette.dev/v1alpha1", id="a version that is none"),
        pytest.param(("revision:", "revison:"), 6, "did you mean revision?", id="a field misspelt"),
    ],
)
def test_slips_of_the_pen(edit, line, says):
    said = notes(SERVICE.replace(*edit))
    assert any(f":{line}: error:" in s and says.strip("'") in s for s in said), said


def test_a_duration_is_not_minutes_and_seconds():
    (said,) = [n for n in notes(SERVICE + "  rollout: {policy: {steps: [{pause: {duration: 1:30}}]}}\n") if "error" in n]
    assert "is 90, expected a duration with its unit, such as 90s" in said


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        pytest.param("a: [1\nb: 2\n", 2, "is not YAML", id="an open bracket"),
        pytest.param("a: 1\n\tb: 2\n", 2, "is not YAML", id="a tab"),
        pytest.param("a: !!python/object:os.system {}\n", 1, "is not YAML", id="a Python object"),
        pytest.param("a: &a [x]\nb: *c\n", 2, "is not YAML", id="an alias of nothing"),
        pytest.param("&a [*a]\n", 1, "", id="an alias that holds itself"),
    ],
)
def test_what_is_no_yaml_is_told_with_its_line(text, line, says):
    report = lint([("f.yaml", text)])
    assert [(n.line, says in n.what) for n in report.notes] == [(line, True)] or (not says and not report.notes)


@pytest.mark.heavy
def test_aliases_cannot_stand_for_more_than_a_machine_can_hold():
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(9))
    with pytest.raises(NotYaml, match=f"more than {MAX_FIELDS} fields"):
        list(documents(bomb))


def _hinted(document):
    return [str(f) for f in hints(check(document))]


def test_the_default_rollout_has_no_hints():
    assert _hinted(policy()) == []
    assert (
        _hinted(policy(**json.loads(RolloutSpec().model_dump_json(by_alias=True, exclude_none=True, exclude={"analysis"}))))
        == []
    )


@pytest.mark.parametrize(
    ("document", "says"),
    [
        pytest.param(
            steps({"setWeight": 50}, {"analysis": {}}, {"setWeight": 100}), "begin with a mirror step", id="half at once"
        ),
        pytest.param(
            steps({"mirror": {}}, {"setWeight": 5}, {"analysis": {}}, {"setWeight": 100}),
            "20 times as many",
            id="a jump to everybody",
        ),
        pytest.param(
            steps({"mirror": {}}, {"setWeight": 25}, {"setWeight": 100}), "nothing judges the candidate at 25", id="no analysis"
        ),
        pytest.param(steps({"mirror": {}}, {"setWeight": 25}), "end at 25", id="steps that stop half way"),
        pytest.param(steps({"setWeight": 0}), "end at 0", id="only dark"),
        pytest.param(steps({"analysis": {}}, {"setWeight": 5}), "nothing reaches the candidate", id="an analysis of nothing"),
        pytest.param(
            steps({"mirror": {"percent": 0}}, {"setWeight": 0}, {"analysis": {}}),
            "nothing reaches the candidate",
            id="an analysis of 0 %",
        ),
        pytest.param(steps(analysis={"gates": [{"name": "errors"}]}), "allow e.g. 0.01", id="a margin of nothing"),
        pytest.param(
            steps(analysis={"gates": [{"name": "flips", "margin": 0.1}]}), "add a mirror step", id="flips without a mirror"
        ),
        pytest.param(
            steps(analysis={"gates": [{"name": "recall", "margin": 0.1}]}), "until analysts' labels", id="labels that come late"
        ),
        pytest.param(
            steps(analysis={"gates": [{"name": "alertRate", "margin": 0.1}]}),
            "only unit: entity",
            id="alerts counted by request",
        ),
        pytest.param(steps(analysis={"minRequests": 3}), "say little", id="a verdict from three requests"),
        pytest.param(steps(analysis={"alpha": 0.5}), "0.05 is usual", id="every other good candidate aborted"),
        pytest.param(
            steps({"analysis": {"maxDuration": "2d"}}, progressDeadline="24h"),
            "is 1d, and an analysis may take 2d",
            id="an analysis longer than the deadline",
        ),
        pytest.param(steps(rollbackWindow="0s"), "leave it at 24h", id="no way back"),
        pytest.param(
            service(
                experiment={"variants": [{"name": "red", "weight": 50}, {"name": "blue", "weight": 50}]},
            ),
            "A/A test",
            id="an experiment with one revision",
        ),
        pytest.param(
            service(
                experiment={
                    "variants": [
                        {"name": "red", "weight": 50},
                        {"name": "blue", "weight": 50, "revision": revision(version="8")},
                    ],
                    "duration": "1h",
                },
            ),
            "by day and by week",
            id="an experiment of an hour",
        ),
        pytest.param(
            {
                **steps({"setReplicas": {"replicas": 9}}),
                "spec": {**steps({"setReplicas": {"replicas": 9}})["spec"], "scaling": {"maxReplicas": 4}},
            },
            "raise maxReplicas",
            id="more replicas than there may be",
        ),
    ],
)
def test_what_is_unwise_is_hinted_at_and_not_refused(document, says):
    assert any(says in h for h in _hinted(document)), _hinted(document)
    assert lint([("f.yaml", yaml.safe_dump(document))]).errors == 0


def test_a_policy_may_stand_in_another_file_but_not_nowhere():
    asks = yaml.safe_dump(service(rollout={"policyRef": {"name": "careful"}}))
    assert lint([("a", asks)]).notes == ()
    assert lint([("a", asks), ("b", yaml.safe_dump(policy("careful")))]).notes == ()
    (note,) = lint([("a", asks), ("b", yaml.safe_dump(policy("bold")))]).notes
    assert (note.level, note.path) == ("hint", "spec.rollout.policyRef.name")


def test_the_verb_ends_by_what_it_found(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(SERVICE)
    bad.write_text(yaml.safe_dump(steps({"setWeight": 120})))
    run = CliRunner()
    assert run.invoke(app, ["rollout", "lint", str(good)]).exit_code == 0
    assert run.invoke(app, ["rollout", "lint", "-"], input=SERVICE).exit_code == 0
    assert run.invoke(app, ["rollout", "lint", "-"], input="kind: Service\n").exit_code == 1
    found = run.invoke(app, ["rollout", "lint", str(tmp_path), "--json"])
    assert found.exit_code == 1
    said = json.loads(found.stdout)
    assert (said["resources"], said["errors"]) == (2, 1)
    assert said["notes"][0] | {"what": ""} == {
        "level": "error",
        "file": str(bad),
        "line": next(i for i, line in enumerate(bad.read_text(encoding="utf-8").splitlines(), 1) if "setWeight" in line),
        "subject": "ModelService flows",
        "path": "spec.rollout.policy.steps[0].setWeight",
        "what": "",
    }


def test_hints_can_be_kept_back(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text(yaml.safe_dump(steps({"setWeight": 50})))
    run = CliRunner()
    assert "hint" in run.invoke(app, ["rollout", "lint", str(file)]).stdout
    assert "hint:" not in run.invoke(app, ["rollout", "lint", str(file), "--no-hints"]).stdout


@pytest.mark.heavy
def test_linting_four_times_as_many_resources_is_four_times_the_work():
    one = yaml.safe_dump(steps({"setWeight": 5}, {"analysis": {}}, {"setWeight": 100}))

    def work(resources: int) -> int:
        text = "---\n".join([one] * resources)
        assert lint([("f.yaml", text)]).resources == resources
        return calls_in(lambda: lint([("f.yaml", text)]))

    assert work(20) < 4.2 * work(5)
