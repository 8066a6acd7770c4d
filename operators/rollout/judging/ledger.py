"""The growth of the replicas' counters: differences that survive restarts, vanished replicas and partial looks. Pure.

Counters are differenced per replica identity. A new identity started from zero; one that vanished keeps what it counted; a counter
that falls within one identity is a fault of measuring: its replica counts nothing until it is back above its mark, and the look is
invalid. An observation no newer than the last one adds nothing. What was counted before the ledger began is not evidence: replicas
met up to the first complete look only give their mark. Round-trips through JSON (a resource's status, a file), of MOST_BYTES at most:
with too many replicas for that, only a sample of them is counted (operators.rollout.judging.replica_sample).
operators.rollout.judging.judge interprets the differences."""

import base64
import json
import zlib
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

from operators.rollout.evidence import Observation, ReplicaEvidence, Tally
from operators.rollout.judging.ratio_mismatch import ObservedSplit
from operators.rollout.judging.replica_sample import SeenReplicas, place, with_bits
from operators.values import Value
from serving.files.read_back import read_back

REMEMBER = timedelta(hours=24)
"""How long a vanished replica's mark is kept, in case it comes back."""
REMEMBER_OF_MANY = timedelta(minutes=10)
"""The same if there is no room for the marks of all present replicas."""
REMEMBER_AT_MOST = 256
"""Marks of vanished replicas."""
PACK_FROM_BYTES = 4 * 1024
"""A ledger larger than this is packed."""
MOST_BYTES = 24 * 1024
"""Of a ledger as it is kept, whatever number of replicas there are. With the counters of five gates some 70 to 140 of them have room."""
MOST_FALLEN = 8
"""How many counters that fell are described."""
LABELS = "analysts' labels"
"""Name of the mark of analysts' labels, which are counted like one replica. What they have at the first look is no evidence, and they are
never left out for want of room."""
PACKED = "packed"
"""Key of a packed ledger's text."""


class Mark(Value):
    """A replica's counters when it was last seen."""

    at: datetime
    tallies: Mapping[str, Tally] = {}


class Ledger(Value):
    """What is remembered between two looks."""

    at: datetime | None = None
    """Of the newest observation counted."""
    is_open: bool = False
    """A complete look has been seen: a replica that appears from now on has started since."""
    marks: Mapping[str, Mark] = {}
    totals: Mapping[str, Tally] = {}
    """By `variant@revision`: everything since the ledger began, of all replicas, also gone ones."""
    fallen: tuple[str, ...] = ()
    """Counters that had fallen at the last look, in words, the first of them."""
    fallen_count: int = 0
    """How many had fallen."""
    split: ObservedSplit = ObservedSplit()
    has_let_go: bool = False
    """Written by an earlier release, which left out marks without recording which. A replica that appears only gives its mark at first."""
    known: str = ""
    """Bits of the replicas that were seen and have no mark: they only give their mark when they are counted (again)."""
    share: float = 1.0
    """Of the replicas, by operators.rollout.judging.replica_sample.place, that are counted; less than 1 where there is no room for
    the marks of all."""
    is_without_scores: bool = False
    """There are too many replicas to keep the scores of each: none are counted, and alertBudget cannot set a threshold."""
    mismatch: str = ""
    """What was found wrong with the split. A finding stays, because the evidence so far is not usable."""
    comparisons: Mapping[str, Any] = {}
    """operators.rollout.judging.judge's: e-processes by pair of tallies."""

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Ledger":
        """From JSON; an empty mapping is a new ledger."""
        return read_back(cls, unpacked(kept))

    def write(self) -> dict[str, Any]:
        """To JSON; packed where it is large, and never larger than MOST_BYTES.

        Where packing is not enough, scores are no longer kept, then the marks of the replicas that are gone for the longest, then
        those of a part of the replicas that are there."""
        kept = packed(self._as_json())
        if _size(kept) <= MOST_BYTES:
            return self._grown(kept)
        ledger = self if self.is_without_scores else self._without_scores()
        kept = packed(ledger._as_json())
        while _size(kept) > MOST_BYTES and (fewer := ledger._without_oldest_marks()) is not ledger:
            ledger, kept = fewer, packed(fewer._as_json())
        while _size(kept) > MOST_BYTES and ledger.marks:
            ledger = ledger._sampled(ledger.share * min(0.9, 0.9 * MOST_BYTES / _size(kept)))
            kept = packed(ledger._as_json())
        return kept

    def _grown(self, kept: dict[str, Any]) -> dict[str, Any]:
        """The ledger with a larger share of the replicas to be counted from now on, if there is room."""
        if self.share >= 1 or _size(kept) > MOST_BYTES // 2:
            return kept
        return packed(self.model_copy(update={"share": min(1.0, 1.5 * self.share)})._as_json())

    def counts(self, replica: str) -> bool:
        """Whether this replica is among those whose counters are evidence."""
        return self.share >= 1 or replica == LABELS or place(replica) < self.share

    def _as_json(self) -> dict[str, Any]:
        return self.model_dump(mode="json", by_alias=True, exclude_defaults=True)

    def _without_scores(self) -> "Ledger":
        marks = {name: mark.model_copy(update={"tallies": _scoreless(mark.tallies)}) for name, mark in self.marks.items()}
        return self.model_copy(update={"is_without_scores": True, "marks": marks, "totals": _scoreless(self.totals)})

    def _without_oldest_marks(self) -> "Ledger":
        """Without the older half of the marks of replicas that were not seen at the last look, and without what the split's test
        knows of any that has no mark; itself if there is nothing to leave out."""
        gone = sorted((mark.at, name) for name, mark in self.marks.items() if mark.at != self.at and name != LABELS)
        old = {name for _, name in gone[: (len(gone) + 1) // 2]}
        kept = self._without(old)
        return self if not old and kept.split is self.split else kept

    def _sampled(self, share: float) -> "Ledger":
        """With the marks of this share of the replicas alone."""
        sample = self.model_copy(update={"share": share})
        return sample._without({name for name in self.marks if not sample.counts(name)})

    def _without(self, names: Collection[str]) -> "Ledger":
        """Without the marks of these replicas, and without what the split's test knows of any that has no mark."""
        marks = {name: mark for name, mark in self.marks.items() if name not in names}
        known = with_bits(self.known, names) if names else self.known
        return self.model_copy(update={"marks": marks, "split": self.split.only(marks), "known": known})


Growth = Mapping[str, Mapping[str, Tally]]
"""What one observation added, by replica and tally."""


def absorb(ledger: Ledger, observation: Observation) -> tuple[Ledger, Growth]:
    """Count what an observation adds. Absorbing it twice is the same as once."""
    if observation.problem is not None and not observation.replicas:
        return ledger, {}
    if ledger.at is not None and observation.at <= ledger.at:
        return ledger, {}
    marks, added, fallen = dict(ledger.marks), dict[str, Mapping[str, Tally]](), list[str]()
    known = SeenReplicas(ledger.known)
    counted = [r for r in (*observation.replicas, *_of_labels(observation)) if ledger.counts(r.replica)]
    for replica in counted:
        is_new = ledger.is_open and not ledger.has_let_go and replica.replica not in known and replica.replica != LABELS
        marks[replica.replica], gains, fell = _absorb_replica(ledger, replica, observation.at, is_new=is_new)
        fallen += fell
        if gains:
            added[replica.replica] = gains
    totals = dict(ledger.totals)
    for gained in added.values():
        for name, tally in gained.items():
            totals[name] = plus(totals.get(name, Tally()), tally)
    is_complete = observation.problem is None and len(observation.replicas) >= max(1, observation.expected_replicas)
    kept = _bounded(marks, observation, REMEMBER if ledger.share >= 1 else REMEMBER_OF_MANY)
    left = {name for name in marks if name not in kept} | {r.replica for r in observation.replicas if r.replica not in kept}
    after = ledger.model_copy(
        update={
            "at": observation.at,
            "is_open": ledger.is_open or is_complete,
            "marks": kept,
            "known": with_bits(ledger.known, left) if left else ledger.known,
            "totals": totals,
            "fallen": tuple(fallen[:MOST_FALLEN]),
            "fallen_count": len(fallen),
        }
    )
    return after, added


def _of_labels(observation: Observation) -> tuple[ReplicaEvidence, ...]:
    """The labels as if a replica had counted them."""
    if observation.labels is None:
        return ()
    return (ReplicaEvidence(replica=LABELS, tallies={name: Tally(labels=of) for name, of in observation.labels.items()}),)


def _absorb_replica(
    ledger: Ledger, replica: ReplicaEvidence, at: datetime, *, is_new: bool
) -> tuple[Mark, dict[str, Tally], list[str]]:
    """One replica's new mark, its growth by tally, and its counters that fell. is_new: without a mark, it has started since the last
    look."""
    known = ledger.marks.get(replica.replica)
    if known is None and not is_new:
        return Mark(at=at, tallies=_scoreless(replica.tallies) if ledger.is_without_scores else replica.tallies), {}, []
    marked = dict(known.tallies) if known is not None else {}
    gained, fallen = dict[str, Tally](), list[str]()
    for name, now in (_scoreless(replica.tallies) if ledger.is_without_scores else replica.tallies).items():
        before = marked.get(name, Tally())
        fell = [(path, b, n) for path, b, n in _counters(before, now) if n < b]
        if fell:
            path, b, n = fell[0]
            who = "" if replica.replica == LABELS else f"replica {replica.replica}: "
            fallen.append(f"{who}{path} of {name} fell from {b} to {n} without a restart")
            continue
        growth = minus(now, before)
        if growth != Tally():
            gained[name] = growth
        marked[name] = now
    return Mark(at=at, tallies=marked), gained, fallen


def _bounded(marks: dict[str, Mark], observation: Observation, remember: timedelta) -> dict[str, Mark]:
    """Without the marks of replicas long gone. Their counts are in the totals; if they come back they are not counted again."""
    present = {LABELS, *(r.replica for r in observation.replicas)}
    gone = sorted((m.at, name) for name, m in marks.items() if name not in present and observation.at - m.at <= remember)
    kept = present | {name for _, name in gone[-REMEMBER_AT_MOST:]}
    return {name: mark for name, mark in marks.items() if name in kept}


def packed(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A large ledger as one text (JSON, zlib, base64): the same counters of many replicas shrink to a fifth. A small one as it is."""
    text = json.dumps(kept, separators=(",", ":"))
    if len(text) <= PACK_FROM_BYTES:
        return dict(kept)
    return {PACKED: base64.b64encode(zlib.compress(text.encode(), 9)).decode()}


def unpacked(kept: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `packed` made it from."""
    if PACKED not in kept:
        return kept
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(kept[PACKED])))
    return found


def _size(kept: Mapping[str, Any]) -> int:
    return len(json.dumps(kept, separators=(",", ":")))


def _scoreless(tallies: Mapping[str, Tally]) -> dict[str, Tally]:
    return {name: tally.model_copy(update={"scores": {}}) if tally.scores else tally for name, tally in tallies.items()}


_PLAIN = ("requests", "rows", "entities", "mirrored", "mirrored_rows")
_MAPS = (
    *("bad", "entities_bad", "mirrored_bad", "pairs", "scores"),
    *("segment_rows", "segment_alerts", "segment_entities", "segment_entity_alerts"),
    *("mirrored_segment_rows", "mirrored_segment_alerts"),
)


def _counters(before: Tally, now: Tally) -> list[tuple[str, int, int]]:
    """(name, before, now) of every counter either has."""
    listed = [(name, int(getattr(before, name)), int(getattr(now, name))) for name in _PLAIN]
    for name in _MAPS:
        a, b = getattr(before, name), getattr(now, name)
        listed += [(f"{name}[{part}]", a.get(part, 0), b.get(part, 0)) for part in {**a, **b}]
    for gate in {**before.labels, **now.labels}:
        (n_a, k_a), (n_b, k_b) = before.labels.get(gate, (0, 0)), now.labels.get(gate, (0, 0))
        listed += [(f"labels[{gate}].n", n_a, n_b), (f"labels[{gate}].k", k_a, k_b)]
    return listed


def plus(a: Tally, b: Tally) -> Tally:
    """Both together."""
    return _combine(a, b, 1)


def minus(now: Tally, before: Tally) -> Tally:
    """What has come since; every counter of `now` is at least that of `before`."""
    return _combine(now, before, -1)


def _combine(a: Tally, b: Tally, sign: int) -> Tally:
    plain = {name: getattr(a, name) + sign * getattr(b, name) for name in _PLAIN}
    maps: dict[str, Any] = {}
    for name in _MAPS:
        x, y = getattr(a, name), getattr(b, name)
        summed = {part: x.get(part, 0) + sign * y.get(part, 0) for part in {**x, **y}}
        maps[name] = {part: count for part, count in summed.items() if count}
    labels = {}
    for gate in {**a.labels, **b.labels}:
        (n_a, k_a), (n_b, k_b) = a.labels.get(gate, (0, 0)), b.labels.get(gate, (0, 0))
        if n_a + sign * n_b or k_a + sign * k_b:
            labels[gate] = (n_a + sign * n_b, k_a + sign * k_b)
    return Tally(**plain, **maps, labels=labels)
