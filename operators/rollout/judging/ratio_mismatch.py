"""Sample-ratio mismatch: whether entities were split as the weights say. The evidence of a broken split is not usable. Pure.

The unit is the entity, because the split hashes entities: requests of one entity are not separate draws. An always-valid multinomial test
per replica and per split: a replica counts each entity once while a split stands and forgets them when it changes, so within one
(replica, split) the counts are independent draws; Counts of two replicas or two splits may hold the same entity. So they are never added
up, and each (replica, split) pays its part of alpha.
Source: Lindon & Malek (2022), "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 35 (arXiv:2011.03567), section 3."""

import math
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta

from operators.values import Value

ALPHA = 0.001
"""Bound on ever calling a sound split broken."""
SETTLE = timedelta(seconds=30)
"""Counts within this time after a change are not judged against the new split."""
_CONCENTRATION = 10.0
"""Weight of the prior around the expected shares, in entities."""


class ObservedSplit(Value):
    """The split that stands, and what replicas have counted of it."""

    shares: Mapping[str, float] = {}
    """Expected, in percent of entities, by variant."""
    number: int = 0
    """Number of splits so far; counts of different splits are never added up."""
    since: datetime | None = None
    """When it was first looked at."""
    counts: Mapping[str, Mapping[str, int]] = {}
    """New entities by replica and variant, since it had `SETTLE` to reach every replica and every counter."""
    let_go: int = 0
    """Replicas whose counts are no longer kept. Their parts of alpha stay used."""

    def only(self, replicas: Collection[str]) -> "ObservedSplit":
        """Without the counts of any other replica."""
        kept = {name: seen for name, seen in self.counts.items() if name in replicas}
        gone = len(self.counts) - len(kept)
        return self.model_copy(update={"counts": kept, "let_go": self.let_go + gone}) if gone else self


def follow(
    split: ObservedSplit, weights: Mapping[str, float], added: Mapping[str, Mapping[str, int]], at: datetime
) -> ObservedSplit:
    """The split after a look. weights: in force since the last look, by variant; stable has what they leave of 100. added: entities
    new since the last look, by replica and variant."""
    shares = {"stable": round(100 - sum(weights.values()), 9), **weights}
    if dict(split.shares) != shares or split.since is None:
        return ObservedSplit(shares=shares, number=split.number + 1, since=at)
    if at - split.since < SETTLE:
        return split
    counts = {replica: dict(seen) for replica, seen in split.counts.items()}
    for replica, fresh in added.items():
        seen = counts.setdefault(replica, {})
        for variant, count in fresh.items():
            seen[variant] = seen.get(variant, 0) + count
    return split.model_copy(update={"counts": counts})


def finding(split: ObservedSplit) -> str:
    """What is wrong with the split, in words; empty: nothing was found.

    Replica r (in order of its first count) of split s is held to alpha / (r (r + 1) s (s + 1)): these sum to alpha."""
    for place, (replica, seen) in enumerate(split.counts.items(), split.let_go + 1):
        log_limit = math.log(place * (place + 1) * split.number * (split.number + 1) / ALPHA)
        expected = {v: share / 100 for v, share in split.shares.items() if share > 0}
        stray = [v for v, count in seen.items() if count and v not in expected]
        counts = [seen.get(v, 0) for v in expected]
        if len(expected) > 1 and not stray and log_bayes_factor(counts, list(expected.values())) >= log_limit:
            total = sum(counts)
            parts = ", ".join(
                f"{v} {100 * c / total:.1f} % (expected {100 * p:g} %)"
                for (v, p), c in zip(expected.items(), counts, strict=True)
            )
            return (
                f"the split is broken (sample-ratio mismatch): of {total:,} entities at replica {replica} {parts}; "
                "its evidence cannot be compared: find out which entities are missing, then retry the rollout"
            )
    return ""


def log_bayes_factor(counts: list[int], shares: list[float], concentration: float = _CONCENTRATION) -> float:
    """Dirichlet mixture centred on the shares, over the shares themselves; counts and shares in the same order."""
    total = sum(counts)
    value = math.lgamma(concentration) - math.lgamma(concentration + total)
    for count, share in zip(counts, shares, strict=True):
        weight = concentration * share
        value += math.lgamma(weight + count) - math.lgamma(weight) - count * math.log(share)
    return value
