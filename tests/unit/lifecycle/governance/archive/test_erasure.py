"""A person is erased: the records stay and verify, nothing says who it was, and what needs the value is called erased."""

import shutil

import pytest

from lifecycle.governance.archive.erasure import erase_subject
from lifecycle.governance.archive.holds import HoldError, LegalHold
from lifecycle.governance.archive.query import LogQuery
from lifecycle.governance.archive.record_log import RecordLog
from lifecycle.governance.replay.replay import Replayer
from lifecycle.governance.replay.revisions import RevisionBook
from serving.audit.personal.redaction import reveal_json
from serving.audit.personal.subject_keys import SubjectKeys
from serving.audit.writer import SegmentWriter
from serving.models.errors import BundleError
from tests.unit.lifecycle.governance.archive.logs import LogWorld
from tests.unit.lifecycle.governance.archive.test_archive import acts, archive_all, recorder, verified
from tests.unit.serving.scoring.variants import World, request, spec, tensors, threat

pytestmark = pytest.mark.heavy


class Answered:
    """A store that answered two hosts by a bundle with personal fields, by the real writer."""

    def __init__(self, folder, world):
        self.store = folder / "store"
        self.log_world = world
        self.keys = SubjectKeys(self.store / "keys" / "subjects")

    @property
    def log(self):
        return RecordLog(self.log_world.folder, self.log_world.place)

    def erase(self, subject, holds=()):
        return erase_subject(self.log, self.keys, subject, "asked for it", holds, recorder(self.log_world))

    def replayed(self, keys=True):
        replayer = Replayer(RevisionBook(self.store), subject_keys=self.keys if keys else None)
        return dict(replayer.replay(line for s in self.log.segments() for line in s.entries()).outcomes)

    def hosts(self):
        decrypt = lambda body, receipt: reveal_json(body, receipt, self.keys)  # noqa: E731
        return {h for (h,) in LogQuery(self.log, decrypt=decrypt).run("SELECT inputs->>'host' FROM rows").lines}


async def answered(tmp_path, personal):
    log_world, world = LogWorld(tmp_path / "store"), World(tmp_path)
    bundle = threat(tmp_path / "bundle", "1", personal=personal)
    world.store.add(bundle)
    found = Answered(tmp_path, log_world)
    writer = SegmentWriter(
        log_world.folder,
        segment_bytes=1 << 20,
        segments=0,
        queue=100,
        signer=lambda: log_world.signer,
        now_us=log_world.now,
        subject_keys=found.keys,
    )
    world.scorer._audit = writer
    await world.service.apply(spec(bundle))
    for one in (request("ann"), request("bob", level=1.0), request("ann", "bob")):
        await world.service.infer(one)
    await world.service.infer(tensors(1.0))
    writer.close()
    assert writer.written == 4
    return found


async def test_the_name_is_gone_and_the_answers_are_still_proved(tmp_path):
    found = await answered(tmp_path, {"host": "encrypt"})
    text = b"".join(path.read_bytes() for path in found.log_world.folder.glob("segment-*.jsonl"))
    assert b'"ann"' not in text
    assert found.hosts() == {"ann", "bob", None}
    subject = found.erase("ann")
    assert {h for h in found.hosts() if h and "encrypted" not in h} == {"bob"}
    assert verified(found.log_world).is_sound
    assert found.replayed() == {"identical": 4}, "the model does not take the name"
    assert [(act.action, act.subject) for act in acts(found.log_world)] == [("subject.erase", f"subject/{subject}")]
    assert "ann" not in acts(found.log_world)[0].subject.removeprefix("subject/")


async def test_what_the_model_took_is_erased_and_not_different(tmp_path):
    found = await answered(tmp_path, {"host": "encrypt", "level": "encrypt"})
    assert found.replayed() == {"identical": 3, "erased": 1}, "a tensor that names nobody was dropped"
    found.erase("ann")
    assert found.replayed() == {"identical": 1, "erased": 3}
    assert found.replayed(keys=False) == {"erased": 4}


async def test_archived_records_are_erased_too(tmp_path):
    found = await answered(tmp_path, {"host": "encrypt"})
    archive_all(found.log_world)
    assert found.hosts() == {"ann", "bob", None}
    found.erase("ann")
    assert {h for h in found.hosts() if h and "encrypted" not in h} == {"bob"}
    assert verified(found.log_world).is_sound


async def test_a_store_without_the_folder_of_keys_says_nothing_of_anybody(tmp_path):
    found = await answered(tmp_path, {"host": "encrypt"})
    shutil.rmtree(tmp_path / "store" / "keys" / "subjects")
    assert not {h for h in found.hosts() if h and "encrypted" not in h}


async def test_what_a_legal_hold_needs_is_not_erased(tmp_path):
    found = await answered(tmp_path, {"host": "encrypt"})
    with pytest.raises(HoldError, match="case 7"):
        found.erase("ann", [LegalHold("h", "model = 'threat'", "case 7", "bea", 1)])
    assert found.hosts() == {"ann", "bob", None}
    assert acts(found.log_world) == []
    assert found.erase("ann", [LegalHold("h", "model = 'other'", "case 8", "bea", 1)]) is not None


async def test_somebody_of_whom_nothing_is_known_is_not_recorded_as_erased(tmp_path):
    found = await answered(tmp_path, {"host": "encrypt"})
    assert found.erase("carl") is None
    assert acts(found.log_world) == []


async def test_without_personal_fields_the_line_is_as_it_was(tmp_path):
    found = await answered(tmp_path, {})
    assert found.hosts() == {"ann", "bob", None}
    assert not (tmp_path / "store" / "keys" / "subjects").exists()
    assert all(b"personal" not in line for segment in found.log.segments() for line in segment.entries())


def test_a_personal_field_that_the_bundle_does_not_have_is_refused(tmp_path):
    with pytest.raises(BundleError, match="personal names"):
        threat(tmp_path / "bundle", "1", personal={"user": "encrypt"})
