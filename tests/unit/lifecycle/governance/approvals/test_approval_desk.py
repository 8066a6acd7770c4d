"""The files behind approvals: read again when they change, never taken for empty when they are damaged."""

import errno
import itertools
import os

import pytest

from lifecycle.governance.acts import Act
from lifecycle.governance.approvals.desk import ActNotRecorded, ApprovalDesk
from serving.audit.segment_files import segments_in

SERVICE = "modelservice/local/flows"


def act(action="rollout.pause", **evidence):
    return Act(time_us=1, actor="ada", action=action, subject=SERVICE, reason="r", evidence=evidence)


@pytest.fixture
def desk(tmp_path):
    return ApprovalDesk(tmp_path / "log", tmp_path / "people.yaml", now_us=itertools.count(1).__next__)


def test_without_a_log_nothing_is_recorded_and_nothing_is_known(tmp_path):
    desk = ApprovalDesk(None, None, now_us=lambda: 1)
    desk.record([act()])
    assert desk.view(SERVICE).recorded is None


def test_an_act_of_a_look_that_was_cut_off_is_kept_once(desk):
    for _ in range(2):
        desk.record([act(request="q1", attempt="a"), act("rollout.promote", attempt="a", step=3)])
    assert [a.action for a in desk.acts()] == ["rollout.pause", "rollout.promote"]


def test_each_edit_of_the_status_is_recorded_anew(desk):
    for time_us in (1, 2):
        desk.record([Act(time_us=time_us, actor="unknown", action="rollout.status-edit", subject=SERVICE, reason="r",
                         evidence={"attempt": "a"}, outcome="refused")])  # fmt: skip
    assert len(desk.acts()) == 2


def test_people_are_read_again_when_the_file_changes_and_kept_when_it_breaks(desk):
    assert desk.view(SERVICE).people.by_name == {}
    desk.people_file.write_text("people: [{name: bob, roles: [soc-manager]}]")
    assert desk.view(SERVICE).people.by_name["bob"].roles == {"soc-manager"}
    desk.people_file.write_text("people: [{name: bob, roles: [soc-manager], rolls: 1}]")
    assert desk.view(SERVICE).people.by_name.keys() == {"bob"}
    assert "rolls" in desk.problem
    desk.people_file.unlink()
    assert desk.view(SERVICE).people.by_name == {}
    assert desk.problem is None


def test_who_made_a_bundle_is_read_from_the_log(desk):
    bundle = "sha256:" + "b" * 64
    made = Act(time_us=1, actor="eve", action="bundle.train", subject=f"bundle/{bundle}", reason="r")
    desk.record([made])
    assert desk.view(SERVICE, [bundle]).involved == {"eve": "trained its bundle"}
    assert desk.view(SERVICE, ["sha256:" + "c" * 64]).involved == {}


def test_attack_an_act_is_changed_in_the_log(desk):
    desk.record([act()])
    (files,) = segments_in(desk.folder)
    files.records.write_bytes(files.records.read_bytes().replace(b"ada", b"eve"))
    view = desk.view(SERVICE)
    assert view.recorded is None
    assert "do not match its last checkpoint" in desk.problem
    with pytest.raises(ActNotRecorded, match=r"rollout\.abort: could not be recorded"):
        desk.record([act("rollout.abort")])


def test_attack_an_approval_is_appended_to_the_log_without_a_checkpoint(desk):
    desk.record([act()])
    (files,) = segments_in(desk.folder)
    line = files.records.read_bytes()
    files.records.write_bytes(line + line.replace(b"rollout.pause", b"rollout.approve"))
    assert [a.action for a in desk.acts()] == ["rollout.pause"]


@pytest.mark.parametrize("left", [0, 1], ids=["removed", "put back to an older copy"])
def test_attack_the_log_is_rolled_back_while_somebody_reads_it(desk, left):
    desk.record([act(request="q1")])
    (files,) = segments_in(desk.folder)
    older = {path: path.read_bytes() for path in (files.records, files.checkpoints)}
    desk.record([act(request="q2")])
    assert len(desk.acts()) == 2
    for path, body in older.items():
        path.write_bytes(body) if left else path.unlink()
    assert desk.view(SERVICE).recorded is None
    assert "or fewer" in desk.problem


def test_attack_the_file_of_people_is_spoilt_before_the_process_starts(desk):
    """An unreadable file is not one in which nobody has a key."""
    desk.people_file.write_text("people: [")
    view = desk.view(SERVICE)
    assert "no approval is taken" in view.people_problem
    desk.people_file.write_text("people: [{name: bob}]")
    assert desk.view(SERVICE).people_problem == ""


def test_a_log_that_cannot_be_written_is_failing_until_it_can_be(desk, monkeypatch):
    desk.record([act(request="q1")])
    assert desk.failing is None
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", is_full)
        with pytest.raises(ActNotRecorded):
            desk.record([act(request="q2")])
        for _ in range(2):
            assert desk.view(SERVICE).recorded is not None, "it can be read"
            assert "No space left" in desk.failing
    desk.view(SERVICE)
    assert desk.failing is None


def test_a_log_whose_volume_became_read_only_is_failing_before_an_act_waits(desk, monkeypatch):
    desk.record([act()])
    opened = os.open

    def read_only(path, flags, *more, **how):
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system")
        return opened(path, flags, *more, **how)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", read_only)
        desk.view(SERVICE)
        assert "Read-only" in desk.failing
    desk.view(SERVICE)
    assert desk.failing is None


def test_where_no_log_is_kept_nothing_fails(tmp_path):
    desk = ApprovalDesk(None, tmp_path / "people.yaml", now_us=lambda: 1)
    desk.people_file.write_text("people: [")
    desk.view(SERVICE)
    assert (desk.failing, desk.problem is None) == (None, False)


def test_a_file_of_people_without_end_is_not_read(desk):
    desk.people_file.touch()
    os.truncate(desk.people_file, 1 << 42)
    assert "more than" in desk.view(SERVICE).people_problem


def is_full(*_):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_requirement_that_is_no_approval_step_is_told_and_not_followed(tmp_path):
    def refuse(step):
        raise ValueError(f"{step} is none")

    desk = ApprovalDesk(None, tmp_path / "people.yaml", now_us=lambda: 1, check_step=refuse)
    desk.people_file.write_text("require: [{services: [flows], approval: {rolls: []}}]")
    assert "require of flows" in desk.view(SERVICE).people_problem
