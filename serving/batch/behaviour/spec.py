"""What a behavioural model counts, and its reference values, as the bundle's file `reference/behaviour.json` has them."""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from serving.batch.data.source import Source, SourceMatch

FILE: Final = "reference/behaviour.json"
"""Within the bundle."""


class Roles(msgspec.Struct, frozen=True):
    """Names of the columns that behaviour is made of. failed: the column and the values that say that a flow failed."""

    entity: str
    peer: str
    port: str
    bytes: str
    sent: str
    state: str
    failed: SourceMatch


class UsualWindows(msgspec.Struct, frozen=True):
    """Quantiles of the windows that the model was trained on, at even steps from 0 to 1: of the score, and of each feature."""

    score: tuple[float, ...]
    features: Mapping[str, tuple[float, ...]]
    windows: int


class BehaviourSpec(msgspec.Struct, frozen=True):
    """A behavioural model. window_s: length of its windows, which begin at multiples of it. history_s: how long a peer is known.

    texts: feature -> what an analyst reads of an unusual value, with `{value}`."""

    roles: Roles
    source: Source
    reference: UsualWindows
    window_s: int = 3600
    history_s: int = 7 * 86_400
    least_events: int = 3
    """Entities with fewer events in a window are not scored."""
    texts: Mapping[str, str] = {}


def share_below(values: NDArray[np.float64], quantiles: tuple[float, ...]) -> NDArray[np.float64]:
    """The share of the reference that is below each value, between 0 and 1; of values that equal some of it, the middle."""
    table = np.asarray(quantiles)
    steps = len(table) - 1
    low = np.searchsorted(table, values, side="left")
    high = np.searchsorted(table, values, side="right")
    tied = (low + high - 1) / 2 / steps
    below = np.clip(low - 1, 0, steps - 1)
    width = table[below + 1] - table[below]
    between = (below + np.divide(values - table[below], width, out=np.zeros_like(values), where=width > 0)) / steps
    return np.clip(np.where(high > low, tied, between), 0.0, 1.0)
