"""The verbs at the command line, over a folder: what they write, print and end with."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from operators.cli.console import CommandError
from operators.cli.control_plane import send_verb
from operators.cli.kubectl import app as kubectl
from operators.cli.main import app
from operators.control.folder import ControlFolder
from operators.rollout.status import HistoryEntry
from tests.fakes.operator.control_place import Place, document, revision
from tests.fakes.serving.replicas import Habits

pytestmark = pytest.mark.heavy


def run(place: Place, *arguments: str, command=app):
    return CliRunner().invoke(command, [*arguments, "--store-dir", str(place.store_dir)])


async def begun(place: Place, looks: int = 1) -> None:
    place.folder.change("ids", lambda _: document(revision(2)))
    await place.look(looks)


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (["promote"], "promote"),
        (["promote", "--full"], "promote-full"),
        (["pause"], "pause"),
        (["resume"], "resume"),
        (["abort"], "abort"),
        (["retry"], "retry"),
        (["undo"], "undo"),
        (["approve"], "approve"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
async def test_a_verb_is_left_with_who_and_why(place: Place, verb, said):
    await begun(place)
    done = run(place, "rollout", verb[0], "ids", *verb[1:], "--why", "the pager rang", "--json")
    assert done.exit_code == 0, done.output
    (left,) = place.folder.waiting("ids")
    assert (left.verb, left.why, left.by) == (said, "the pager rang", place.folder.who())
    assert json.loads(done.stdout)["handled"] is False


async def test_a_verb_says_when_nobody_acts_on_it(place: Place):
    await begun(place)
    assert "no `vedette up`" in run(place, "rollout", "pause", "ids").output


async def test_a_yes_is_to_the_revision_and_step_that_were_seen(place: Place):
    await begun(place)
    run(place, "rollout", "promote", "ids")
    (left,) = place.folder.waiting("ids")
    assert left.args == {"revision": revision(2).digest, "step": str(place.folder.read("ids").status.step_index + 1)}


async def test_start_makes_a_service_of_the_store_s_newest_and_keeps_what_is_not_said(place: Place):
    store = ControlFolder(place.store_dir)
    place.folder.change("ids", lambda _: document(revision(1), paused=True))
    done = run(place, "rollout", "start", "ids", "--version", "2", "--bundle", revision(2).bundle, "--why", "recall")
    assert done.exit_code == 0, done.output
    found = store.service("ids")
    assert found.spec.revision == revision(2)
    assert found.spec.paused
    assert found.spec.rollout.policy is not None
    assert found.metadata.generation == 2
    assert found.metadata.annotations["vedette.dev/change-cause"] == "recall"


async def test_start_of_what_was_aborted_says_retry(place: Place):
    await begun(place)
    run(place, "rollout", "abort", "ids")
    await place.look(2)
    done = run(place, "rollout", "start", "ids", "--version", "2", "--bundle", revision(2).bundle)
    assert "rollout retry ids" in str(done.exception)
    run(place, "rollout", "retry", "ids")
    await place.look(2)
    assert place.folder.read("ids").status.phase == "Progressing"


async def test_start_refuses_a_threshold_that_is_no_number(place: Place):
    bundle = revision(2).bundle
    done = run(place, "rollout", "start", "ids", "--version", "2", "--bundle", bundle, "--threshold", "siem_alerting=high")
    assert "POINT=VALUE" in str(done.exception)


@pytest.mark.parametrize(
    ("do", "code"),
    [
        pytest.param("nothing", 3, id="under way: 3"),
        pytest.param("pause", 4, id="waits for people: 4"),
        pytest.param("abort", 1, id="aborted: 1"),
        pytest.param("promote-full", 0, id="what was asked for serves: 0"),
    ],
)
async def test_the_exit_code_of_status_tells(place: Place, do: str, code: int):
    await begun(place)
    if do != "nothing":
        verb = ["promote", "ids", "--full"] if do == "promote-full" else [do, "ids"]
        run(place, "rollout", *verb)
        await place.look(5)
    assert run(place, "rollout", "status", "ids").exit_code == code


async def test_a_change_nobody_has_looked_at_is_not_done(place: Place):
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look(3)
    assert run(place, "rollout", "status", "ids").exit_code == 0
    place.folder.change("ids", lambda _: document(revision(2)))
    assert run(place, "rollout", "status", "ids").exit_code == 3


async def test_get_draws_steps_split_gates_and_moves(place: Place):
    await begun(place, looks=4)
    shown = run(place, "rollout", "get", "ids").stdout
    assert "mirror 100 %" in shown
    assert "candidate" in shown
    assert "errors" in shown
    assert "Progressing" in run(place, "rollout", "get").stdout


async def test_history_tells_every_move_with_its_evidence(place: Place):
    await begun(place, looks=40)
    found = json.loads(run(place, "rollout", "history", "ids", "--json").stdout)
    (rollout,) = found["finished"]
    assert rollout["outcome"] == "promoted"
    assert any(move.get("assessment") for move in rollout["moves"])
    assert "candidate requests; errors" in run(place, "rollout", "history", "ids").stdout


HOSTILE = "no\x1b[2J\x1b]0;title\x07\r\u202e\nids: Healthy [/red]"


@pytest.mark.parametrize("verb", [("get", "ids"), ("get",), ("history", "ids"), ("status", "ids"), ("experiment", "ids")])
async def test_reasons_of_others_mean_nothing_to_the_terminal(place: Place, verb, monkeypatch):
    monkeypatch.setattr("operators.cli.console.PAGE_WIDTH", 400)
    await begun(place)
    run(place, "rollout", "pause", "ids", "--why", HOSTILE)
    await place.look(1)
    run(place, "rollout", "abort", "ids", "--why", HOSTILE)
    await place.look(1)
    done = run(place, *(("experiment", "get", "ids") if verb[0] == "experiment" else ("rollout", *verb)))
    assert not set(done.output) & set("\x1b\x07\r\u202e"), done.output
    assert not any(line.startswith("ids: Healthy") for line in done.output.splitlines()), "no line of theirs stands alone"
    if verb not in {("get",), ("experiment", "ids")}:
        assert "no\\x1b[2J" in done.output


async def test_history_as_a_page_that_stands_alone(place: Place, tmp_path: Path):
    await begun(place, looks=6)
    page = tmp_path / "page.html"
    assert run(place, "rollout", "history", "ids", "--html", str(page)).exit_code == 0
    assert "no worse" in page.read_text(encoding="utf-8")


async def test_an_unknown_service_is_told_with_those_there_are(place: Place):
    await begun(place)
    done = run(place, "rollout", "get", "nobody")
    assert "['ids']" in str(done.exception)


def test_kubectl_vedette_has_the_same_verbs_with_and_without_the_word_rollout():
    runner = CliRunner()
    short, long = (runner.invoke(kubectl, [*words, "--help"]).stdout for words in ([], ["rollout"]))
    for verb in ("get", "status", "start", "promote", "pause", "resume", "abort", "retry", "undo", "approve", "history"):
        assert f" {verb} " in short
        assert f" {verb} " in long


async def test_kubectl_vedette_with_a_store_folder_speaks_to_this_machine(place: Place):
    await begun(place)
    assert "Progressing" in run(place, "get", "ids", command=kubectl).stdout


async def test_an_experiment_runs_is_watched_and_reported(place: Place):
    place.folder.change("ids", lambda _: document(revision(1)))
    await place.look(2)
    spec = place.store_dir / "experiment.yaml"
    variants = (
        f"[{{name: now, weight: 50}}, {{name: new, weight: 50, revision: {{version: '2', bundle: '{revision(2).bundle}'}}}}]"
    )
    spec.write_text(f"variants: {variants}\nduration: 1h\nanalysis: {{gates: [{{name: errors, margin: 0.02}}]}}\n")
    place.replicas.habits[revision(2).bundle] = Habits(alert_rate=0.01)
    assert run(place, "experiment", "start", "ids", "--file", str(spec)).exit_code == 0
    await place.look(20, requests=600)
    shown = run(place, "experiment", "get", "ids").stdout
    assert "guards of new" in shown
    assert run(place, "experiment", "conclude", "ids", "--why", "clear").exit_code == 0
    await place.look(2)
    report = json.loads(run(place, "experiment", "report", "ids", "--json").stdout)
    assert (report["winner"], report["isFinal"]) == ("new", True)
    assert "★ new" in run(place, "experiment", "report", "ids").stdout
    assert place.replicas.entry().variants == ()


async def test_after_an_abort_an_experiment_says_what_to_settle_first(place: Place):
    await begun(place)
    run(place, "rollout", "abort", "ids")
    await place.look(2)
    done = run(place, "experiment", "start", "ids", "--variant", "a:50", "--variant", "b:50")
    assert "rollout start ids --version 1" in str(done.exception)


async def test_an_experiment_is_asked_for_and_a_wrong_one_is_refused(place: Place):
    place.folder.change("ids", lambda _: document(revision(1)))
    spec = place.store_dir / "experiment.yaml"
    other = revision(2)
    variants = f"[{{name: now, weight: 50}}, {{name: new, weight: 50, revision: {{version: '2', bundle: '{other.bundle}'}}}}]"
    spec.write_text(f"variants: {variants}\nduration: 1h\n")
    assert run(place, "experiment", "start", "ids", "--file", str(spec)).exit_code == 0
    found = place.folder.service("ids").spec.experiment
    assert found is not None
    assert [v.name for v in found.variants] == ["now", "new"]
    done = run(place, "experiment", "start", "ids", "--variant", "one:50", "--variant", "two:60")
    assert "sum to 110" in str(done.exception)


async def test_a_refusal_is_told_although_the_clock_of_who_refuses_is_behind(place: Place):
    """The request has this machine's time, the move that of the cluster."""
    await begun(place)
    settled = place.folder.read("ids")

    class SlowClock:
        where, asked = "a cluster", None

        def who(self):
            return "alice"

        def caution(self):
            return None

        def ask(self, name, request):
            self.asked = request

        def read(self, name):
            if self.asked is None:
                return settled
            at = self.asked.at - timedelta(seconds=3)
            refused = HistoryEntry(at=at, move="refuse approve", by="alice", reason="alice started it")
            changes = {"handled": (self.asked.id,), "moves": (*settled.status.moves, refused)}
            return replace(settled, status=settled.status.model_copy(update=changes))

    with pytest.raises(CommandError, match="refused: alice started it"):
        send_verb(SlowClock(), "ids", "approve", "", as_json=False)


@pytest.mark.parametrize(
    "option", [["--variant", "a:50"], ["--duration", "2h"], ["--metric", "alertRate"], ["--goal", "lower"]]
)
def test_an_experiment_from_a_file_takes_no_field_beside_it(place: Place, option):
    place.folder.change("ids", lambda _: document(revision(1)))
    spec = place.store_dir / "experiment.yaml"
    spec.write_text("variants: []\n")
    done = run(place, "experiment", "start", "ids", "--file", str(spec), *option)
    assert option[0] in str(done.exception)
    assert "--file" in str(done.exception)
