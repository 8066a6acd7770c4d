"""The one task that loads a revision, and when another begins; loading itself is in test_service.py."""

import asyncio
from pathlib import Path

from serving.loading.loader import Loader, Wanted
from serving.models.store import BundleStore
from serving.spec import RevisionSpec

REVISION = Wanted("flows", "1", RevisionSpec(bundle="sha256:" + "0" * 64))


class Gated(Loader):
    """Each load ends when it is let end."""

    def __init__(self):
        super().__init__(BundleStore(Path("nowhere")), None, probe_timeout_s=1, model_threads=1)
        self.begun, self.gate = 0, asyncio.Event()

    async def _load(self, wanted):
        self.begun += 1
        await self.gate.wait()


async def test_a_load_that_is_just_done_is_not_joined():
    """Its revision was overtaken and dropped. A caller that wants it in the same turn of the loop would be told `not loaded`."""
    loader = Gated()
    first = asyncio.create_task(loader.load((REVISION,)))
    while not loader.begun:
        await asyncio.sleep(0)
    (under_way,) = loader._loading.values()

    async def want_it_again():
        await loader.gate.wait()
        assert under_way.done()
        await loader.load((REVISION,))

    again = asyncio.create_task(want_it_again())
    await asyncio.sleep(0)
    loader.gate.set()
    await asyncio.gather(first, again)
    assert loader.begun == 2
    assert not loader._loading


async def test_a_load_that_is_under_way_is_joined():
    loader = Gated()
    both = [asyncio.create_task(loader.load((REVISION,))) for _ in range(2)]
    while not loader.begun:
        await asyncio.sleep(0)
    loader.gate.set()
    await asyncio.gather(*both)
    assert loader.begun == 1
