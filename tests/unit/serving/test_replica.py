"""A replica without Ray and without doors: how it follows the served file."""

import asyncio
from types import SimpleNamespace

from serving import replica
from serving.replica import ReplicaHost
from serving.served_file import ServedFile
from serving.settings import ServingSettings
from serving.spec import ModelSpec, RevisionSpec, ServingSpec

WANTED = ServingSpec(models=(ModelSpec(name="flows", version="1", revision=RevisionSpec(bundle="sha256:" + "0" * 64)),))


class FailsOnce(ServedFile):
    """A file whose first read fails, as on a disk that is out for a moment."""

    failures = 1

    def read(self):
        if self.failures:
            self.failures -= 1
            raise OSError(116, "Stale file handle")
        return super().read()


async def test_a_change_that_cannot_be_read_is_read_at_the_next_look(tmp_path, monkeypatch):
    """Else an abort is lost: nothing is written to the file after it."""
    monkeypatch.setattr(replica, "_FOLLOW_EVERY_S", 0)
    applied = asyncio.Queue()
    host = ReplicaHost(ServingSettings(store_dir=tmp_path), None)
    host._composition = SimpleNamespace(
        service=SimpleNamespace(apply=applied.put), served=FailsOnce(tmp_path), fallback=ServingSpec
    )
    ServedFile(tmp_path).write(WANTED)
    following = asyncio.create_task(host._follow())
    async with asyncio.timeout(5):
        assert await applied.get() == WANTED
    following.cancel()
