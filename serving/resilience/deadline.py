"""Divides a request's time over its stages: the read of features, the run of the model, and the answer. Pure.

Time for the model and the answer is reserved first. A slow feature store uses up its own part only, and the request is answered with
defaults. A request that cannot be answered in time is refused before any work is done: its client would not read the answer."""

from typing import Final

from serving.errors import DeadlineExceeded

ANSWER_S: Final = 0.001
"""Kept for judging, accounting and encoding the answer."""
_LEAST_READ_S: Final = 0.0005
"""A read that would get less is not attempted: no store answers in it, and each attempt looks like a failure of the store."""


def too_late(model: str, allowed_s: float, run_s: float) -> DeadlineExceeded | None:
    """The refusal of a request that cannot be answered in time, or None. run_s: what one run of the model takes at the median."""
    if allowed_s > run_s:
        return None
    return DeadlineExceeded(
        f"the request allows {allowed_s * 1e3:.3g} ms, but model {model!r} takes {run_s * 1e3:.3g} ms, so it was not run; "
        "allow more time"
    )


def read_slice_s(left_s: float, most_s: float, run_s: float) -> float:
    """How long the read of features may take: most_s, or the time that remains after the model's run and the answer; 0: do not read.

    run_s: expected time of the model for these rows. At most half of the remaining time is reserved for the model."""
    slice_s = left_s - min(run_s, left_s / 2) - ANSWER_S
    if slice_s >= most_s:
        return most_s
    return slice_s if slice_s >= _LEAST_READ_S else 0.0


def run_slice_s(left_s: float, share: float) -> float:
    """How long the model may run. share: of the time left; less than 1 if another variant may have to answer in its place."""
    return max(left_s * share - (ANSWER_S if left_s > 2 * ANSWER_S else 0.0), 0.0)
