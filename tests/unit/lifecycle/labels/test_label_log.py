"""The log of labels: what was given stays, is taken once, and the last word counts."""

import itertools
import multiprocessing
import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lifecycle.governance.verify.findings import FindingKind
from lifecycle.governance.verify.run import Verification
from lifecycle.labels.errors import LabelConflict, LabelsLost
from lifecycle.labels.label import Label
from lifecycle.labels.label_log import LabelLog
from serving.audit import segments
from serving.audit.keys.trust import Trust
from serving.audit.segment_files import segments_in
from serving.audit.signed_note import NoteError, Signer

START_US = 1_760_000_000_000_000


def label(number=1, **fields):
    known = {"label_id": f"l{number}", "event": f"r{number}", "model": "flows", "verdict": "attack", "analyst": "ada"}
    return Label(**{**known, "time_us": START_US + number, **fields})


@pytest.fixture(scope="module")
def signer(tmp_path_factory):
    return Signer.create(tmp_path_factory.mktemp("key") / "audit.pem")


def log_in(folder, signer=None):
    return LabelLog(folder, signer=lambda: signer, now_us=itertools.count(START_US).__next__)


@pytest.fixture
def log(tmp_path, signer):
    return log_in(tmp_path / "labels", signer)


def test_a_label_is_given_once_and_repeated_without_a_second_line(log):
    assert log.give(label()) == "given"
    assert log.give(label()) == "repeated"
    assert log.give(label(source="http", time_us=START_US + 99)) == "repeated"
    assert len(log.read()) == 1


def test_the_last_word_on_an_event_counts_and_the_first_stays_readable(log):
    log.give(label(1))
    assert log.give(label(2, event="r1", verdict="benign")) == "corrected"
    assert log.current("flows")["r1"].verdict == "benign"
    assert [one.verdict for one in log.history("r1")] == ["attack", "benign"]


def test_a_word_that_was_given_earlier_and_comes_later_corrects_nothing(log):
    log.give(label(5, event="r1"))
    log.give(label(2, event="r1", verdict="benign"))
    assert log.current("flows")["r1"].verdict == "attack"
    assert log.history("r1")[-1].verdict == "attack"


def test_of_two_words_of_one_moment_the_one_later_in_the_log_counts(log):
    log.give_all([label(1), label(2, event="r1", verdict="unsure", time_us=START_US + 1)])
    assert log.current("flows")["r1"].verdict == "unsure"


def test_an_id_that_was_used_for_another_word_is_refused_and_nothing_of_its_batch_is_taken(log):
    log.give(label(1))
    with pytest.raises(LabelConflict, match=r"l1.*ada: r1 is attack"):
        log.give_all([label(2), label(1, verdict="benign")])
    assert [one.label_id for one in log.read()] == ["l1"]


def test_a_batch_may_repeat_itself(log):
    assert log.give_all([label(1), label(1), label(2, event="r1")]) == ["given", "repeated", "corrected"]


def test_models_are_apart(log):
    log.give_all([label(1), label(2, event="r1", model="dns")])
    assert log.models() == ["dns", "flows"]
    assert len(log.current("flows")) == len(log.current("dns")) == 1
    assert log.current("nobody") == {}


def test_what_another_process_appended_is_seen(log, signer):
    assert log.current("flows") == {}
    other = log_in(log.folder, signer)
    other.give(label(1))
    assert set(log.current("flows")) == {"r1"}
    assert log.give(label(1)) == "repeated"
    assert log.kept(["l1", "none"]) == [label(1)]


def _give(folder, name):
    log = log_in(folder)
    for number in range(15):
        log.give(label(number, label_id=f"{name}{number}", analyst=name))
        log.give(label(number, label_id=f"both{number}", event=f"both{number}", analyst="all"))


@pytest.mark.heavy
def test_processes_that_give_at_once_lose_nothing_and_double_nothing(tmp_path):
    workers = [multiprocessing.get_context("fork").Process(target=_give, args=(tmp_path, name)) for name in "abc"]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    analysts = [one.analyst for one in log_in(tmp_path).read()]
    assert {name: analysts.count(name) for name in ("a", "b", "c", "all")} == {"a": 15, "b": 15, "c": 15, "all": 15}


def test_a_full_disk_is_said_and_nothing_counts_as_given(log, monkeypatch):
    log.give(label(1))

    def full(fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(segments, "_sync_data", full)
        with pytest.raises(LabelsLost, match=r"No space left on device.*give them again"):
            log.give(label(2))
    assert set(log.current("flows")) == {"r1"}
    assert log.give(label(2)) == "given"
    assert set(log_in(log.folder).current("flows")) == {"r1", "r2"}


def test_a_repeated_label_is_synced_though_its_first_writer_died_before(log, signer, monkeypatch):
    log.give(label(1))
    synced = []
    monkeypatch.setattr(segments, "_sync_data", lambda fd: synced.append(os.fstat(fd).st_size))
    assert log.give(label(1)) == "repeated"
    assert synced, "the line may never have reached the disk"


def test_a_torn_label_is_cut_off_before_the_next(log):
    log.give(label(1))
    (files,) = segments_in(log.folder)
    with files.records.open("ab") as torn:
        torn.write(b'{"time_us":17')
    assert log.give(label(2)) == "given"
    assert [one.label_id for one in log_in(log.folder).read()] == ["l1", "l2"]


def test_a_line_that_is_no_label_is_named_with_its_place(log):
    log.give(label(1))
    (files,) = segments_in(log.folder)
    with files.records.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(NoteError, match=r"byte \d+: is not a label.*vedette audit verify"):
        log.current("flows")


def verified(folder, signer, beside=lambda _: ()):
    return Verification(START_US + 10**9, lambda place: Trust.read(place, [signer.verifier]), beside=beside).verify(folder)


def test_the_log_is_verified_like_the_others_and_a_changed_verdict_is_found(log, signer):
    log.give_all([label(number) for number in range(5)])
    assert verified(log.folder, signer).findings == ()
    (files,) = segments_in(log.folder)
    lines = files.records.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"attack", b"benign")
    files.records.write_bytes(b"".join(lines))
    first = verified(log.folder, signer).findings[0]
    assert (first.kind, first.place.line) == (FindingKind.CHANGED, 3)


def test_labels_of_old_times_that_no_checkpoint_has_yet_are_no_finding(log, signer):
    """A process that died before its checkpoint: the times of imported labels lie years apart, those of their lines do not."""
    log.give(label(1))
    (files,) = segments_in(log.folder)
    line = files.records.read_bytes()
    with files.records.open("ab") as file:
        file.write(line.replace(b"l1", b"l2") + line.replace(b"l1", b"l3").replace(b"1760000000000001", b"1460000000000001", 1))
    assert verified(log.folder, signer).findings == ()


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from(["attack", "benign", "unsure"]), st.integers(1, 4)),
        max_size=25,
    ),
    st.integers(1, 4),
)
def test_the_index_says_what_a_plain_reading_says(tmp_path_factory, words, batch):
    log = log_in(tmp_path_factory.mktemp("labels"))
    labels = [
        Label(label_id=f"l{n}", event=f"r{event}", model=f"m{event % 2}", verdict=verdict, analyst="ada", time_us=at)
        for n, (event, _, verdict, at) in enumerate(words)
    ]
    for start in range(0, len(labels), batch):
        log.give_all(labels[start : start + batch])
    for model in ("m0", "m1"):
        plain = {}
        for one in sorted((one for one in labels if one.model == model), key=lambda one: one.time_us):
            plain[one.event] = one
        assert log.current(model) == plain
        assert log_in(log.folder).current(model) == plain


def _fill(folder, acknowledged, most_bytes):
    """Give labels until the disk takes no more: no file may grow beyond a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, resource.RLIM_INFINITY))
    log = log_in(folder)
    for number in range(200):
        try:
            log.give(label(number, note="x" * 200))
        except LabelsLost:
            acknowledged.send("full")
            return
        acknowledged.send(number)


@pytest.mark.heavy
def test_what_was_acknowledged_before_a_disk_was_full_is_there_and_the_rest_can_be_given_later(tmp_path):
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    worker = multiprocessing.get_context("fork").Process(target=_fill, args=(tmp_path, theirs, 20_000))
    worker.start()
    told = list(iter(ours.recv, "full"))
    worker.join()
    assert 10 < len(told) < 100
    log = log_in(tmp_path)
    assert set(log.current("flows")) == {f"r{number}" for number in told}
    assert log.give(label(199, note="x" * 200)) == "given"
    assert verified(tmp_path, Signer.create(tmp_path.parent / "other.pem")).logs[0].records == len(told) + 1
