"""The one task that changes what is served: order, overtaking, failures, callers that go away."""

import asyncio

import pytest

from serving.replica.spec_owner import SpecOwner
from serving.spec import ModelSpec, RevisionSpec, ServingSpec


def model(name):
    return ModelSpec(name=name, version="1", revision=RevisionSpec(bundle="sha256:" + "0" * 64))


def adding(name):
    return lambda spec: ServingSpec(models=(*spec.models, model(name)))


def names(spec):
    return [m.name for m in spec.models]


class Loads:
    """Loads that end when they are let end; remembers what was taken and settled."""

    def __init__(self):
        self.taken, self.settled, self.gates = [], [], []
        self.owner = SpecOwner(
            lambda spec: self.taken.append(names(spec)), self._load, lambda spec: self.settled.append(names(spec))
        )

    async def _load(self, _spec):
        self.gates.append(asyncio.Event())
        await self.gates[-1].wait()

    async def loading(self, number):
        async with asyncio.timeout(10):
            while len(self.gates) < number:
                await asyncio.sleep(0)


async def test_a_change_is_taken_while_an_earlier_one_loads_and_settles_both():
    loads = Loads()
    first = asyncio.create_task(loads.owner.apply_and_settle(adding("a")))
    await loads.loading(1)
    await loads.owner.apply(adding("b"))
    assert loads.taken == [["a"], ["a", "b"]]
    await loads.loading(2)
    assert not first.done()
    loads.gates[1].set()
    await first
    assert loads.settled == [["a", "b"]]


async def test_changes_of_one_moment_are_taken_in_their_order():
    loads = Loads()
    await asyncio.gather(*(loads.owner.apply(adding(name)) for name in "abc"))
    assert names(loads.owner.spec) == ["a", "b", "c"]


async def test_a_change_that_is_refused_changes_nothing_and_holds_up_no_other():
    loads = Loads()

    def refuse(_spec):
        raise LookupError("no")

    refused = asyncio.create_task(loads.owner.apply(refuse))
    await loads.owner.apply(adding("a"))
    with pytest.raises(LookupError):
        await refused
    assert names(loads.owner.spec) == ["a"]


async def test_a_change_that_is_refused_settles_nothing():
    """Else a refused request of a client would make a replica ready before its first specification."""
    loads = Loads()

    def refuse(_spec):
        raise LookupError("no")

    with pytest.raises(LookupError):
        await loads.owner.apply(refuse)
    assert (loads.taken, loads.gates, loads.settled) == ([], [], [])


class TakesNo(Loads):
    """Taking a specification with `bad` in it fails."""

    def __init__(self):
        super().__init__()
        self.owner = SpecOwner(self._take, self._load, lambda spec: self.settled.append(names(spec)))

    def _take(self, spec):
        self.taken.append(names(spec))
        if "bad" in names(spec):
            raise ZeroDivisionError


async def test_a_change_that_cannot_be_taken_leaves_the_specification_that_is_served():
    loads = TakesNo()
    await loads.owner.apply(adding("a"))
    with pytest.raises(ZeroDivisionError):
        await loads.owner.apply_and_settle(adding("bad"))
    assert names(loads.owner.spec) == ["a"]
    assert loads.taken == [["a"], ["a", "bad"], ["a"]]
    await loads.owner.apply(adding("c"))
    assert names(loads.owner.spec) == ["a", "c"]


async def test_of_changes_of_one_moment_one_that_cannot_be_taken_holds_up_no_other():
    loads = TakesNo()
    found = await asyncio.gather(*(loads.owner.apply(adding(name)) for name in ("a", "bad", "c")), return_exceptions=True)
    assert [type(problem) for problem in found] == [type(None), ZeroDivisionError, type(None)]
    assert names(loads.owner.spec) == ["a", "c"]


async def test_what_is_loaded_meanwhile_is_taken_by_the_specification_as_it_stands():
    loads = Loads()
    await loads.owner.apply(adding("a"))
    loads.owner.reapply()
    assert loads.taken == [["a"], ["a"]]
    assert loads.settled == []


async def test_a_caller_that_goes_away_has_its_change_made_all_the_same():
    loads = Loads()
    caller = asyncio.create_task(loads.owner.apply_and_settle(adding("a")))
    await loads.loading(1)
    caller.cancel()
    other = asyncio.create_task(loads.owner.apply_and_settle(adding("b")))
    await loads.loading(2)
    loads.gates[1].set()
    await other
    assert loads.settled == [["a", "b"]]


async def test_a_defect_in_loading_is_told_to_who_waits_and_ends_nothing():
    loads = Loads()
    loads.owner._load = _fails
    with pytest.raises(ZeroDivisionError):
        await loads.owner.apply_and_settle(adding("a"))
    loads.owner._load = loads._load
    later = asyncio.create_task(loads.owner.apply_and_settle(adding("b")))
    await loads.loading(1)
    loads.gates[0].set()
    await later
    assert loads.settled == [["a", "b"]]


async def test_closing_leaves_nobody_waiting():
    loads = Loads()
    waiting = asyncio.create_task(loads.owner.apply_and_settle(adding("a")))
    await loads.loading(1)
    loads.owner.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def _fails(_spec):
    raise ZeroDivisionError
