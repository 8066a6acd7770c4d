"""Has a figure fallen below a bound? A test by betting that may be looked at as often as one likes. Pure.

Each labelled row wins or loses a bet on the figure being below the bound. While the figure is at the bound or over it, no bet has an
expected gain, so the capital exceeds 1/alpha with probability alpha at most, at any time (Ville's inequality). Several stakes are bet
side by side. A share of the first capital is put in anew with each block of rows, so that a fall after a long good time is found as well
as one at once.

Sources: Waudby-Smith & Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS B 86(1); weighted observations:
Waudby-Smith, Wu, Ramdas, Karampatziakis & Mineiro (2022), "Anytime-valid off-policy inference for contextual bandits", arXiv:2210.10768;
capital that is put in over time: Shin, Ramdas & Rinaldo (2023), "E-detectors", arXiv:2203.03532, section 4."""

from typing import Final

import msgspec
import numpy as np

from lifecycle.arrays import Floats

STAKES: Final = tuple(0.95 * 2.0**-k for k in range(11))
"""Shares of the largest bet that cannot lose everything."""
BLOCKS: Final = 366
"""Over so many blocks the first capital is put in; then a test has to begin anew. A year of days."""
_NOTHING: Final = -1e300
"""Logarithm of no capital: JSON has no infinity."""


class FallState(msgspec.Struct, frozen=True, kw_only=True):
    """A test as far as it has come. It can be stored.

    capital: logarithm of each stake's. blocks: how many were judged. since_us: when the evidence began to grow; least: the capital then.
    gain, weight: sums of weighted labels since, whose ratio estimates the figure."""

    capital: tuple[float, ...] = (_NOTHING,) * len(STAKES)
    blocks: int = 0
    since_us: int = 0
    least: float = 1.0
    gain: float = 0.0
    weight: float = 0.0
    labels: int = 0

    @property
    def evidence(self) -> float:
        """The e-value: capital now, of 1 at first."""
        put_in = float(np.logaddexp.reduce(np.array(self.capital)))
        return float(np.exp(min(put_in, 700.0))) + max(0.0, 1.0 - self.blocks / BLOCKS)

    @property
    def figure(self) -> float | None:
        """The figure since the evidence began to grow; None: no label."""
        return self.gain / self.weight if self.weight > 0 else None

    @property
    def is_over(self) -> bool:
        """Whether all capital is put in, so that the test has to begin anew."""
        return self.blocks >= BLOCKS


def bet(state: FallState, excess: Floats, most: float, *, block_us: int, gain: float, weight: float) -> FallState:
    """Judge one block of rows, in order. excess: shape (m,): what each row says for the figure, of expectation >= 0 while the figure is
    at its bound or over it. most: the largest excess that a row of this block could have had, positive, known before its label.

    block_us: when the block began. gain, weight: its weighted sums, whose ratio is the figure in the block. Raises ValueError if the test
    is over or an excess is larger than `most`."""
    if state.is_over:
        raise ValueError(f"the test has judged {state.blocks} blocks, at most {BLOCKS} are allowed; start a new test")
    if len(excess) and excess.max() > most * (1 + 1e-9):
        raise ValueError(f"an excess is {excess.max()}, over the most that was possible ({most})")
    stakes = np.array(STAKES)
    capital = np.logaddexp(np.array(state.capital), -np.log(BLOCKS * len(STAKES)))
    if len(excess):
        capital = capital + np.log1p(-np.outer(stakes / most, np.minimum(excess, most))).sum(axis=1)
    found = msgspec.structs.replace(
        state,
        capital=tuple(np.maximum(capital, _NOTHING).tolist()),
        blocks=state.blocks + 1,
        since_us=state.since_us or block_us,
        gain=state.gain + gain,
        weight=state.weight + weight,
        labels=state.labels + len(excess),
    )
    evidence = found.evidence
    if evidence <= state.least:  # nothing before tells of a fall
        return msgspec.structs.replace(found, since_us=0, least=evidence, gain=0.0, weight=0.0, labels=0)
    return found
