"""The reason of a gate's verdict, in words. Pure."""

from operators.rollout.judging import gates
from operators.rollout.judging.gate_state import CapitalShare
from operators.rollout.judging.segment_streams import SegmentGap, SegmentStreams
from operators.rollout.spec import Gate, GateName
from operators.rollout.status import Verdict

_VERDICTS = {
    Verdict.WORSE: "worse",
    Verdict.BETTER: "better",
    Verdict.NO_WORSE: "no worse",
    Verdict.UNDECIDED: "undecided",
}


def gate_reason(of: Gate, verdict: Verdict, part: CapitalShare | None, is_live: bool, more: int | None) -> str:
    """`errors: worse: 38 of 1,120 requests failed (3.39 %), of stable's 101 of 10,080 (1.00 %); allowed: 0.50 points more`."""
    start = f"{of.name}: {_VERDICTS[verdict]}"
    if part is None:
        return f"{start}: {_why_nothing(of, is_live)}"
    words = f"{start}: {_counts_in_words(of, part, verdict)}"
    if verdict is not Verdict.UNDECIDED:
        return words
    if more is not None:
        return f"{words}; needs about {more:,} more candidate requests"
    if of.margin == 0:
        return f"{words}; with margin 0 only a clear difference decides: give the gate a margin"
    return f"{words}; no verdict is in sight at these rates"


def shown_gap(segments: SegmentStreams, verdict: Verdict) -> SegmentGap | None:
    """The segment that a verdict is about: the most suspicious, or the one that no worse waits for the longest."""
    gaps = segments.gaps()
    waited = [gap for gap in gaps if gap.is_waited_for]
    if verdict is Verdict.WORSE or not waited:
        return gaps[0] if gaps else None
    return min(waited, key=lambda gap: gap.log_no_worse)


def _gap_in_words(of: Gate, segments: SegmentStreams, verdict: Verdict) -> str:
    gap = shown_gap(segments, verdict)
    if gap is None:
        return "the replicas report no segment"
    (_, _, (n_r, k_r), (n_s, k_s)), (was, now) = gap.streams, gap.gaps
    text = f"{gap.segment}: {_ratio(k_s, n_s)} {gates.noun(of)} alert, of the rest {_ratio(k_r, n_r)}"
    return f"{text}: a gap of {100 * now:+.2f} points, stable's is {100 * was:+.2f}; {_allowed(of)}"


def _counts_in_words(of: Gate, part: CapitalShare, verdict: Verdict) -> str:
    if part.segments is not None:
        return _gap_in_words(of, part.segments, verdict)
    if part.stream is not None:
        a, b = part.stream.stable, part.stream.candidate
        what, where = gates.noun(of), "mirrored " if part.kind == "mirror" else ""
        text = f"{_ratio(b.k, b.n)} {where}{what} {gates.BAD[of.name]}, of stable's {_ratio(a.k, a.n)}"
        return f"{text}; {_allowed(of)}"
    p = part.pairs
    assert p is not None  # noqa: S101  # nosec B101  # for the type
    if of.name is GateName.FLIPS:
        text = f"{_ratio(p.differ, p.n)} mirrored rows differ: {p.up:,} more severe, {p.down:,} less"
        return f"{text}; allowed: {100 * of.margin:.2f} %" if of.margin else f"{text}; judged by which side"
    return f"of {p.n:,} mirrored rows {p.up:,} alert only with the candidate, {p.down:,} only with stable; {_allowed(of)}"


def _allowed(of: Gate) -> str:
    side = "either side" if of.is_two_sided else "more"
    return f"allowed: {100 * of.margin:.2f} points {side}"


def _ratio(k: int, n: int) -> str:
    return f"{k:,} of {n:,} ({100 * k / n:.2f} %)" if n else "none of 0"


def _why_nothing(of: Gate, is_live: bool) -> str:
    if of.name in gates.LABELLED:
        return "no unbiased labels"
    if of.name is GateName.FLIPS:
        return "no mirrored requests yet; flips need a mirror step"
    if of.name is GateName.FAIRNESS and (is_live or of.unit == "request"):
        return "the replicas count no rows by segment yet; they do while a candidate has requests and VEDETTE_SEGMENTS names a mapping"
    if is_live:
        return "no requests of the candidate yet"
    if of.unit == "entity":
        return "unit entity is judged on live requests, and the candidate has no weight yet"
    return "no mirrored requests yet, and the candidate has no weight"
