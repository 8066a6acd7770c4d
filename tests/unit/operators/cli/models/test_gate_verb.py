"""`vedette gate` as it is typed: a good bundle passes, and each kind of broken one fails for its reason."""

import json
import shutil
from xml.etree import ElementTree

import pytest
import yaml
from typer.testing import CliRunner

from lifecycle.governance.acts import ActsLog
from operators.cli.main import app
from serving.models.build import build_bundle
from serving.models.bundle import file_digest
from serving.models.store import BundleStore
from tests.unit.lifecycle.declared import body, rows

pytestmark = pytest.mark.heavy

LENIENT = {"required": ["schema", "golden"], "floors": [{"point": "siem_alerting", "figure": "recall", "least": 0.5}]}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store with two bundles of one detector: the second learnt from labels that mean nothing."""
    folder = tmp_path_factory.mktemp("gate")
    declared = body()
    declared["provenance"] = {"source": "made here", "labels": [{"rows": "all", "by": "the generator", "how": "as drawn"}]}
    (folder / "logins.yaml").write_text(yaml.safe_dump(declared), encoding="utf-8")
    rows(2000).to_csv(folder / "logins.csv", index=False)
    noise = rows(2000)
    noise["verdict"] = noise["verdict"].sample(frac=1, random_state=1).to_numpy()
    noise.to_csv(folder / "noise.csv", index=False)
    (folder / "lenient.yaml").write_text(yaml.safe_dump(LENIENT), encoding="utf-8")
    for name in ("logins.csv", "noise.csv"):
        words = ["train", folder / "logins.yaml", "--data", folder / name, "--store-dir", folder / "store"]
        done = CliRunner().invoke(app, [str(w) for w in words])
        assert done.exit_code == 0, done.output
    return folder


def gate(place, *words):
    given = ("gate", *words, "--store-dir", place / "store", "--json")
    done = CliRunner().invoke(app, [str(w) for w in given])
    assert done.stdout.startswith("{"), (done.output, done.exception)
    record = json.loads(done.stdout)
    assert done.exit_code == (0 if record["is_passed"] else 1)
    return record, {c["name"]: c for c in record["checks"]}


def test_a_good_bundle_passes_and_its_judgement_is_recorded(place, tmp_path):
    files = ("--junit", tmp_path / "gate.xml", "--markdown", tmp_path / "gate.md", "--record")
    record, checks = gate(place, "logins/1", "--data", place / "logins.csv", "--policy", place / "lenient.yaml", *files)
    assert record["is_passed"]
    assert {checks[name]["outcome"] for name in ("schema", "golden", "budget", "performance", "lineage")} == {"passed"}
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().find("testsuite").get("failures") == "0"
    assert (tmp_path / "gate.md").read_text(encoding="utf-8").startswith("# logins 1: passed")
    *_, act = ActsLog(place / "store" / "governance", signer=lambda: None, now_us=lambda: 0).read()
    assert (act.action, act.outcome, act.subject) == ("gate.judge", "accepted", f"bundle/{record['bundle']['digest']}")


def test_without_rows_what_is_required_was_not_shown(place):
    record, checks = gate(place, "logins/1")
    assert not record["is_passed"]
    assert [c["outcome"] for c in checks.values() if c["name"] == "performance"] == ["skipped"]


@pytest.mark.parametrize(("policy", "words", "name"), [
    pytest.param("families: [{least: 0.5}]", (), "families", id="types of attacks, where rows name none"),
    pytest.param("floors: [{point: siem_alerting, figure: recall, least: 0.5}]", None, "performance", id="floors, without rows"),
    pytest.param("{}", ("--newer", "few.csv"), "drift", id="newer rows that are too few to be judged"),
])  # fmt: skip
def test_what_was_asked_for_and_not_looked_at_fails(place, tmp_path, policy, words, name):
    rows(400).head(60).to_csv(place / "few.csv", index=False)
    (tmp_path / "p.yaml").write_text(f"required: []\n{policy}" if policy != "{}" else "required: []", encoding="utf-8")
    given = [] if words is None else ["--data", place / "logins.csv", *(place / w if w.endswith(".csv") else w for w in words)]
    record, checks = gate(place, "logins/1", "--policy", tmp_path / "p.yaml", *given)
    assert (checks[name]["outcome"], checks[name]["required"]) == ("skipped", True)
    assert not record["is_passed"]


def test_the_same_bundle_is_no_worse_and_the_report_says_that_nothing_was_compared(place):
    words = ("--data", place / "logins.csv", "--policy", place / "lenient.yaml", "--against", "logins/1")
    _, checks = gate(place, "logins/1", *words)
    assert "is the same bundle" in checks["champion"]["words"]


def test_a_bundle_that_learnt_nothing_fails_against_the_one_that_is_served(place):
    words = ("--data", place / "logins.csv", "--policy", place / "lenient.yaml", "--against", "logins/1")
    _, checks = gate(place, "logins/2", *words)
    assert checks["champion"]["outcome"] == "failed"
    assert "logins 1 has" in checks["champion"]["words"]


def test_the_wrong_graph_fails_by_its_golden_outputs(place, tmp_path):
    store = BundleStore(place / "store")
    right, other = store.resolve("logins", "1"), store.resolve("logins", "2")
    folder = shutil.copytree(right.folder, tmp_path / "b")
    (folder / "model.onnx").write_bytes(other.model_path.read_bytes())
    manifest = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    manifest["files"]["model.onnx"] = file_digest(folder / "model.onnx")
    (folder / "bundle.json").write_text(json.dumps(manifest), encoding="utf-8")
    _, checks = gate(place, folder, "--data", place / "logins.csv")
    assert checks["golden"]["outcome"] == "failed"
    assert checks["budget"]["outcome"] == "skipped"


def test_a_bundle_of_unknown_origin_fails_by_its_lineage(place, tmp_path):
    bundle = BundleStore(place / "store").resolve("logins", "1")
    build_bundle(tmp_path / "b", model=bundle.model_path.read_bytes(), name="logins", version="9")
    record, checks = gate(place, tmp_path / "b")
    assert checks["lineage"]["outcome"] == checks["golden"]["outcome"] == "failed"
    assert {c["outcome"] for n, c in checks.items() if n in ("performance", "families", "champion")} == {"skipped"}
    assert not record["is_passed"]


def test_a_changed_file_is_a_failed_schema_with_a_report(place, tmp_path):
    folder = tmp_path / "b"
    shutil.copytree(BundleStore(place / "store").resolve("logins", "1").folder, folder)
    (folder / "model.onnx").write_bytes(b"\0")
    record, checks = gate(place, folder, "--junit", tmp_path / "gate.xml")
    assert checks["schema"]["outcome"] == "failed"
    assert not record["is_passed"]
    assert (tmp_path / "gate.xml").is_file()


def test_rows_that_cannot_be_read_fail_with_a_report(place, tmp_path):
    (tmp_path / "cut.csv").write_text("user,method\nada,key\n", encoding="utf-8")
    words = ("--test", tmp_path / "cut.csv", "--newer", tmp_path / "cut.csv", "--junit", tmp_path / "out" / "gate.xml")
    _, checks = gate(place, "logins/1", *words)
    assert [checks[name]["outcome"] for name in ("performance", "drift")] == ["failed", "failed"]
    assert "has no column" in checks["performance"]["words"]
    assert (tmp_path / "out" / "gate.xml").is_file()


def test_a_run_without_a_report_leaves_none_of_an_earlier_bundle(place, tmp_path):
    (tmp_path / "gate.xml").write_text("passed", encoding="utf-8")
    words = ["gate", "nobody", "--store-dir", place / "store", "--junit", tmp_path / "gate.xml"]
    assert CliRunner().invoke(app, [str(w) for w in words]).exit_code == 1
    assert not (tmp_path / "gate.xml").exists()


def test_a_name_that_is_hostile_to_terminals_and_parsers_is_spelt_out(place, tmp_path):
    named = "/\udcff\x1b]0;<b>|x"
    words = ("--junit", tmp_path / "gate.xml", "--markdown", tmp_path / "gate.md", "--html", tmp_path / "gate.html")
    record, checks = gate(place, named, *words)
    assert (record["is_passed"], checks["schema"]["outcome"]) == (False, "failed")
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().find("testsuite").get("failures") == "5"
    assert "\\udcff" in (tmp_path / "gate.md").read_text(encoding="utf-8")
    typed = ["gate", named, "--store-dir", str(place / "store")]
    assert "\x1b" not in CliRunner().invoke(app, typed).output


def test_a_budget_that_is_too_small_is_named(place, tmp_path):
    (tmp_path / "p.yaml").write_text("budget: {megabytes: 0.001}\nrequired: [budget]", encoding="utf-8")
    _, checks = gate(place, "logins/1", "--policy", tmp_path / "p.yaml")
    assert "0.001 MB" in checks["budget"]["words"]
