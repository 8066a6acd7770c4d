"""Approvals on this machine: what the loop records before it acts, and what it believes of files that anybody may write."""

import json

import pytest
import yaml

from lifecycle.governance.approvals.note import ApprovalSubject
from operators.control.folder import owner_of
from operators.rollout.status import Phase, VerbRequest
from tests.fakes.approvers import signed, signer
from tests.fakes.operator.control_place import Place, document, revision

pytestmark = pytest.mark.heavy

SERVICE = "modelservice/local/ids"
STEPS = [{"approval": {"roles": ["detection-lead", "soc-manager"]}}, {"setWeight": 100}]
POLICY = {"steps": STEPS, "analysis": {"minRequests": 0}, "rollbackWindow": "0s"}
PEOPLE = {
    "people": [
        {"name": "ada", "roles": ["detection-lead"], "key": str(signer("ada").verifier)},
        {"name": "bob", "roles": ["soc-manager"], "key": str(signer("bob").verifier)},
    ]
}


@pytest.fixture
async def waiting(place: Place):
    """A rollout that waits for approval."""
    path = place.store_dir / "governance" / "people.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(yaml.safe_dump(PEOPLE), encoding="utf-8")
    place.folder.change("ids", lambda _: document(revision(1), rollout={"policy": POLICY}))
    await place.look()
    place.folder.change("ids", lambda _: document(revision(2), rollout={"policy": POLICY}))
    await place.look(3)
    assert status(place).waiting_for == "approval as detection-lead and soc-manager: 0 of 2"
    return place


def status(place: Place):
    found = place.folder.status("ids")
    assert found is not None
    return found


def acts(place: Place):
    return [(a.actor, a.action, a.outcome) for a in place.loop()._desk.acts()]


def approve(place: Place, by: str, role: str, key_of: str | None = None) -> None:
    now = status(place)
    subject = ApprovalSubject(SERVICE, now.attempt, revision(2).digest, now.step_index + 1)
    note = signed(by, role=role, subject=subject, at=place.now, key_of=key_of)
    args = {"role": role, "note": note}
    place.folder.ask("ids", VerbRequest(id=f"yes-{by}", verb="approve", by=by, why="looked at it", at=place.now, args=args))


async def test_signed_approvals_bring_it_through_and_every_act_is_in_the_log(waiting: Place):
    approve(waiting, "ada", "detection-lead")
    approve(waiting, "bob", "soc-manager")
    await waiting.look(4)
    assert status(waiting).stable == revision(2)
    assert [a for a in acts(waiting) if a[1] in ("rollout.approve", "rollout.promote")] == [
        ("ada", "rollout.approve", "accepted"),
        ("bob", "rollout.approve", "accepted"),
        ("operator", "rollout.promote", "accepted"),
    ]


async def test_attack_an_approval_is_forged_in_a_file(waiting: Place):
    approve(waiting, "bob", "soc-manager", key_of="eve")
    await waiting.look(2)
    assert status(waiting).approvals == ()
    assert acts(waiting)[-1] == ("bob", "rollout.approve", "refused")


async def test_attack_the_status_file_is_edited(waiting: Place):
    path = waiting.folder.folder / "ids.status.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["rollout"] |= {"stepIndex": 2, "weight": 100.0}
    path.write_text(json.dumps(kept), encoding="utf-8")
    await waiting.look(2)
    assert (status(waiting).phase, status(waiting).stable) == (Phase.ABORTED, revision(1))
    assert waiting.replicas.weights().get("candidate", 0) == 0
    assert acts(waiting)[-1] == ("unknown", "rollout.status-edit", "refused")


async def test_attack_the_status_says_that_the_candidate_is_stable(waiting: Place):
    path = waiting.folder.folder / "ids.status.json"
    kept = json.loads(path.read_text(encoding="utf-8"))
    rollout = {k: v for k, v in kept["rollout"].items() if k not in ("candidate", "policy", "phase")}
    kept["rollout"] = {**rollout, "phase": "Healthy", "stable": kept["rollout"]["candidate"]}
    path.write_text(json.dumps(kept), encoding="utf-8")
    await waiting.look(2)
    assert status(waiting).stable == revision(1)
    assert waiting.replicas.entry().version == "1"


async def test_what_cannot_be_recorded_does_not_happen(waiting: Place, caplog):
    approve(waiting, "ada", "detection-lead")
    log = waiting.store_dir / "governance"
    (records,) = log.glob("segment-*.jsonl")
    records.write_bytes(records.read_bytes().replace(b'"operator"', b'"somebody"', 1))
    await waiting.look(2)
    assert status(waiting).approvals == ()
    assert "could not be recorded" in caplog.text
    assert "vedette audit verify" in caplog.text


async def test_a_harmful_candidate_loses_its_traffic_though_nothing_can_be_recorded(waiting: Place, caplog):
    approve(waiting, "ada", "detection-lead")
    approve(waiting, "bob", "soc-manager")
    await waiting.look(1)
    while waiting.replicas.weights().get("candidate") != 100:
        await waiting.look(1, requests=0)
    (records,) = (waiting.store_dir / "governance").glob("segment-*.jsonl")
    records.write_bytes(b"")
    waiting.folder.ask("ids", VerbRequest(id="abort-1", verb="abort", by="ada", why="harm", at=waiting.now))
    await waiting.look(1, requests=0)
    assert waiting.replicas.weights().get("candidate", 0) == 0
    assert status(waiting).phase is not Phase.ABORTED, "it is not on record, so it is tried again"
    assert "could not be recorded" in caplog.text


async def test_a_service_whose_document_goes_is_released_in_the_log(waiting: Place):
    waiting.folder.delete("ids")
    await waiting.look()
    _, action, outcome = acts(waiting)[-1]
    assert (action, outcome) == ("rollout.release", "accepted")
    waiting.folder.change("ids", lambda _: document(revision(2), rollout={"policy": POLICY}))
    await waiting.look()
    assert ("operator", "rollout.adopt", "accepted") in acts(waiting)[-2:], "it begins anew, with what is found"


async def test_a_request_is_believed_where_its_file_belongs_to_who_it_is_by(waiting: Place):
    me = owner_of(waiting.folder.folder / "services" / "ids.yaml")
    for by in (me, "bob"):
        waiting.folder.ask("ids", VerbRequest(id=f"said-{by}", verb="pause", by=by, at=waiting.now))
    assert waiting.folder.checked("ids") == (f"said-{me}",)
    assert waiting.folder.writer("ids") == me


@pytest.mark.parametrize(
    "text", ["people: [", "require: [{services: [ids], approval: {rolls: [x]}}]"], ids=["no YAML", "no step"]
)
async def test_attack_the_file_of_people_is_spoilt_so_that_nobody_has_a_key(waiting: Place, text, caplog):
    (waiting.store_dir / "governance" / "people.yaml").write_text(text, encoding="utf-8")
    now = waiting.now
    waiting.folder.ask(
        "ids", VerbRequest(id="plain", verb="approve", by="bob", why="fine", at=now, args={"role": "soc-manager"})
    )
    await waiting.look(2)
    assert status(waiting).approvals == ()
    assert "no approval is taken" in status(waiting).waiting_for
    assert acts(waiting)[-1] == ("bob", "rollout.approve", "refused")
    assert "the look failed" not in caplog.text, "harm is still judged"
