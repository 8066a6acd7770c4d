"""What the loop of this machine makes of defects of others and of its own: no service is held up by another's."""

import asyncio

from operators.control.run import keep_running
from tests.fakes.operator.control_place import Place, document, revision


async def begun(place: Place, candidate: int = 2, **spec: object) -> None:
    place.folder.change("ids", lambda _: document(revision(candidate), **spec))
    await place.look()


async def test_a_service_that_cannot_be_let_go_of_holds_up_no_other_and_is_let_go_of_later(place: Place, caplog):
    """Somebody takes the document away while served.json is damaged: the obvious way out, if one does not know better."""
    await begun(place)
    (place.folder.folder / "services" / "ids.yaml").unlink()
    files = [place.store_dir / "served.json", place.store_dir / "served.last.json"]
    good = files[0].read_text(encoding="utf-8")
    for file in files:
        file.write_text("{")
    for _ in range(2):
        await place.loop().look_at_all()
    assert place.folder.orphans() == ("ids",)
    assert "ids: " in caplog.text
    files[0].write_text(good)
    await place.look()
    assert place.folder.orphans() == ()
    assert not place.replicas.weights(), "its variants are down"


async def test_a_store_that_cannot_be_read_for_a_moment_does_not_end_the_loop(place: Place, monkeypatch, caplog):
    loop, stopping, asked = place.loop(), asyncio.Event(), []

    def names():
        asked.append(1)
        if len(asked) == 1:
            raise OSError("input/output error")
        stopping.set()
        return ()

    monkeypatch.setattr(place.folder, "names", names)
    monkeypatch.setattr(loop, "_every_s", 0.0)
    async with asyncio.timeout(30):
        await loop.run(stopping)
    assert "input/output error" in caplog.text


async def test_a_loop_that_ends_by_a_defect_is_begun_again(caplog):
    stopping, begun_at = asyncio.Event(), []

    async def work():
        begun_at.append(1)
        if len(begun_at) < 3:
            raise ValueError("a defect")
        stopping.set()

    async with asyncio.timeout(30):
        await keep_running(work, stopping, again_s=0.0)
    assert len(begun_at) == 3
    assert "starting again" in caplog.text
