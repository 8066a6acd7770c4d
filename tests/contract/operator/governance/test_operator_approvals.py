"""Laws of approvals in a cluster, on both API servers: signed or checked, recorded before they count, and no status skips one."""

from lifecycle.governance.approvals.desk import ApprovalDesk
from lifecycle.governance.approvals.note import ApprovalSubject
from operators.backends.kube import EVENTS, MODEL_SERVICES
from operators.handlers.settings import OperatorSettings
from serving.audit.segment_files import segments_in
from tests import quick_yaml as yaml
from tests.fakes.approvers import signed, signer
from tests.fakes.operator.operator_desk import CANDIDATE, STABLE, Desk

APPROVAL = {"roles": ["detection-lead", "soc-manager"], "breakGlassRoles": ["incident-commander"]}
POLICY = {
    "steps": [{"setWeight": 25}, {"approval": APPROVAL}, {"setWeight": 100}],
    "analysis": {"gates": [{"name": "errors", "margin": 0.02}], "staleAfter": "60s", "minRequests": 0},
    "roleGroups": {"soc-manager": ["managers"]},
}
PEOPLE = {
    "people": [
        {"name": "carol", "roles": ["detection-lead"], "key": str(signer("carol").verifier)},
        {"name": "dan", "roles": ["incident-commander"], "key": str(signer("dan").verifier)},
    ]
}


async def waiting(desk: Desk, tmp_path, **settings) -> None:
    """A rollout that ada started and that waits for approval; the operator keeps a log unless told otherwise."""
    (tmp_path / "people.yaml").write_text(yaml.safe_dump(PEOPLE))
    told = {"people_file": tmp_path / "people.yaml", "governance_dir": tmp_path / "log", "webhook_port": 9443, **settings}
    desk.settings, desk.by = OperatorSettings(**told), "ada"
    desk.restart()
    await desk.policy(POLICY)
    await desk.service()
    await desk.look(3)
    await desk.change({"revision": {"version": "2", "bundle": CANDIDATE}})
    status = await desk.look(4)
    assert status["waitingFor"].startswith("approval as detection-lead and soc-manager: 0 of 2"), status
    assert desk.weight == 25


async def approve(desk: Desk, by: str, role: str, *, key_of: str | None = None, verb: str = "approve") -> None:
    rollout = (await desk.status())["rollout"]
    from operators.rollout.spec import Revision

    digest = Revision.model_validate(rollout["candidate"]).digest
    subject = ApprovalSubject(f"modelservice/{desk.namespace}/flows", rollout["attempt"], digest, rollout["stepIndex"] + 1)
    note = signed(by, role=role, subject=subject, at=desk.now, key_of=key_of, decision=verb)
    await desk.say(verb, "looked at it", by, role=role, note=note)


def acts(tmp_path):
    return [(a.actor, a.action, a.outcome) for a in ApprovalDesk(tmp_path / "log", None, now_us=lambda: 0).acts()]


async def test_a_signature_and_a_group_that_was_checked_bring_it_through(desk: Desk, tmp_path):
    await waiting(desk, tmp_path)
    await approve(desk, "carol", "detection-lead")
    await desk.look()
    await desk.say("approve", "told the night shift", "zoe", groups="managers")
    status = await desk.look(4)
    assert status["stable"].startswith("2 "), status
    done = acts(tmp_path)
    assert [a for a in done if a[1] == "rollout.approve"] == [
        ("carol", "rollout.approve", "accepted"),
        ("zoe", "rollout.approve", "accepted"),
    ]
    assert ("operator", "rollout.promote", "accepted") in done
    assert b"vedette_operator_governance_log 1.0" in desk.metrics.render()


async def test_attack_groups_that_nobody_checked(desk: Desk, tmp_path):
    await waiting(desk, tmp_path, webhook_port=0)
    await desk.say("approve", "I am a manager", "zoe", groups="managers")
    status = await desk.look(2)
    assert not status["rollout"].get("approvals")
    assert acts(tmp_path)[-1] == ("zoe", "rollout.approve", "refused")
    assert "RequestRefused" in await desk.reasons()


async def test_attack_a_forged_approval_is_refused_where_no_log_is_kept(desk: Desk, tmp_path):
    await waiting(desk, tmp_path, governance_dir=None)
    await approve(desk, "carol", "detection-lead", key_of="eve")
    status = await desk.look(2)
    assert not status["rollout"].get("approvals")
    assert "not signed by the key carol" in str([e["message"] for e in await desk.kube.list(EVENTS, desk.namespace)])
    assert b"vedette_operator_governance_log 0.0" in desk.metrics.render()
    await approve(desk, "carol", "detection-lead")
    assert [a["by"] for a in (await desk.look())["rollout"]["approvals"]] == ["carol"]


async def test_a_log_that_cannot_be_kept_is_told_by_a_metric_as_long_as_it_lasts(desk: Desk, tmp_path):
    await waiting(desk, tmp_path)
    assert b"vedette_operator_governance_log_failing 0.0" in desk.metrics.render()
    (files,) = segments_in(tmp_path / "log")
    kept = files.records.read_bytes()
    files.records.write_bytes(kept.replace(b"ada", b"eve"))
    for _ in range(2):
        await desk.look()
        assert b"vedette_operator_governance_log_failing 1.0" in desk.metrics.render()
    files.records.write_bytes(kept)
    await desk.look()
    assert b"vedette_operator_governance_log_failing 0.0" in desk.metrics.render()


async def test_attack_the_status_is_written_to_skip_the_approval(desk: Desk, tmp_path):
    await waiting(desk, tmp_path)
    await desk.look()
    document = await desk.kube.get(MODEL_SERVICES, desk.namespace, desk.name)
    status = {**document["status"], "rollout": {**document["status"]["rollout"], "stepIndex": 2, "weight": 100}}
    fields = {"metadata": {"resourceVersion": document["metadata"]["resourceVersion"]}, "status": status}
    await desk.kube.apply(MODEL_SERVICES, desk.namespace, desk.name, fields, subresource="status")
    status = await desk.look(2)
    assert (status["phase"], desk.weight) == ("Aborted", 0), status
    assert status["rollout"]["stable"]["bundle"] == STABLE
    assert "StatusRefused" in await desk.reasons()
    assert acts(tmp_path)[-1] == ("unknown", "rollout.status-edit", "refused")


async def test_what_cannot_be_recorded_does_not_happen_and_harm_is_ended_all_the_same(desk: Desk, tmp_path):
    await waiting(desk, tmp_path)
    (records,) = (tmp_path / "log").glob("segment-*.jsonl")
    records.write_bytes(records.read_bytes()[:-20])
    await approve(desk, "carol", "detection-lead")
    status = await desk.look(2)
    assert not status["rollout"].get("approvals")
    assert desk.problem is not None
    assert "could not be recorded" in desk.problem
    assert {"ActNotRecorded", "GovernanceNotRead"} <= set(await desk.reasons())
    assert b'kind="recorded"' in desk.metrics.render()
    desk.fails()
    await desk.look(2)
    assert desk.weight == 0


async def test_broken_glass_alarms_until_it_is_reviewed(desk: Desk, tmp_path):
    await waiting(desk, tmp_path)
    await approve(desk, "dan", "incident-commander", verb="break-glass")
    status = await desk.look(4)
    assert status["stable"].startswith("2 "), status
    name = f'name="flows",namespace="{desk.namespace}"'.encode()
    assert b"vedette_rollout_glass_broken{" + name + b"} 1.0" in desk.metrics.render()
    assert "GlassBroken" in await desk.reasons()
    await desk.say("review", "right in the circumstances", "zoe")
    assert not (await desk.look())["rollout"].get("breakGlass")
    assert b"vedette_rollout_glass_broken{" + name + b"} 0.0" in desk.metrics.render()
    assert ("zoe", "rollout.review", "accepted") in acts(tmp_path)


async def test_who_made_the_bundle_by_the_resources_own_word_does_not_approve(desk: Desk, tmp_path):
    await waiting(desk, tmp_path)
    await desk.change(annotations={"vedette.dev/made-by": "zoe, max"})
    await desk.say("approve", "mine", "zoe", groups="managers")
    await desk.look(2)
    assert acts(tmp_path)[-1] == ("zoe", "rollout.approve", "refused")
