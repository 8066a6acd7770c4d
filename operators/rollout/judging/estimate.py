"""About how many more candidate requests a gate needs until a verdict, if the present estimates hold. Pure."""

import math

from operators.rollout.judging import paired
from operators.rollout.judging.gate_state import CapitalShare, is_two_sided
from operators.rollout.judging.paired import Pairs
from operators.rollout.judging.segment_streams import SegmentStreams
from operators.rollout.spec import Gate, GateName

_AT_MOST = 10_000_000
"""Beyond this no verdict is in sight: such a small difference may be chance."""


def requests_until_verdict(
    part: CapitalShare | None, gate: Gate, missing_worse: float, missing_no_worse: float, requests_per: float
) -> int | None:
    """Candidate requests until the sooner of both verdicts; None where neither is in sight.

    missing_worse, missing_no_worse: logs still missing to each limit. requests_per: candidate requests behind one observation."""
    if part is None:
        return None
    if part.segments is not None:
        return _until_segments(part.segments, gate.margin, missing_worse, missing_no_worse, requests_per)
    worse, no_worse = _growth_of_stream(part) if part.stream is not None else _growth_of_pairs(part.pairs or Pairs(), gate)
    needs = [missing / rate for missing, rate in ((missing_worse, worse), (missing_no_worse, no_worse)) if rate > 0]
    least = min(needs, default=math.inf) * requests_per
    return None if least > _AT_MOST else max(1, math.ceil(least))


def _until_segments(
    segments: SegmentStreams, margin: float, missing_worse: float, missing_no_worse: float, requests_per: float
) -> int | None:
    """The same of segments: until the most suspicious is worse, or until the slowest is no worse."""
    gaps = [gap for gap in segments.gaps() if gap.streams[3][0]]
    waited = [gap for gap in gaps if gap.is_waited_for]
    if not gaps or not waited:
        return None
    slowest = min(waited, key=lambda gap: gap.log_no_worse)
    needs = [math.inf]
    for gap, missing, side in ((gaps[0], missing_worse, 0), (slowest, missing_no_worse, 1)):
        nats, seen = segments.growth(gap.segment, margin)[side], gap.streams[2][0] + gap.streams[3][0]
        if nats > 0 and math.isfinite(missing):
            needs.append(missing / nats * seen * requests_per)
    return None if min(needs) > _AT_MOST else max(1, math.ceil(min(needs)))


def _growth_of_stream(part: CapitalShare) -> tuple[float, float]:
    """(towards worse, towards no worse or better): nats per further candidate observation."""
    stream = part.stream
    assert stream is not None  # noqa: S101  # nosec B101  # for the type
    a, b = stream.stable, stream.candidate
    rate_a, rate_b = (a.k + 0.5) / (a.n + 1), (b.k + 0.5) / (b.n + 1)
    each = a.n / max(b.n, 1)
    up = stream.above.growth(rate_a, rate_b, each)
    down = stream.below.growth(rate_a, rate_b, each) if stream.below else 0.0
    within = stream.not_above.growth(rate_a, rate_b, each)
    if stream.not_below is not None:
        return max(up, down), min(within, stream.not_below.growth(rate_a, rate_b, each))
    return up, max(within, stream.lower.growth(rate_a, rate_b, each))


def _growth_of_pairs(pairs: Pairs, gate: Gate) -> tuple[float, float]:
    """The same, per further pair."""
    n = pairs.n + 1
    up, down = (pairs.up + 0.25) / n, (pairs.down + 0.25) / n
    if gate.name is GateName.FLIPS and gate.margin > 0:
        differ = up + down
        return paired.growth(differ, 0, gate.margin, 0.0), paired.growth(1 - differ, 0, 1 - gate.margin, 0.0)
    above, below = paired.growth(up, down, gate.margin), paired.growth(down, up, gate.margin)
    not_above, not_below = paired.growth(down, up, -gate.margin), paired.growth(up, down, -gate.margin)
    return (max(above, below), min(not_above, not_below)) if is_two_sided(gate) else (above, not_above)
