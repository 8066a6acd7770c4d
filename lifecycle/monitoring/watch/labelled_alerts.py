"""Whether the rate of false alerts has changed, by analysts' labels: the sign of concept drift that needs labels. Pure.

Only labels of events that came before an analyst because they alerted count: how many of those are labelled may change, not which.
The stream is compared with its own first BASELINE labels of the revision, because training says nothing of what analysts see.
How good the model is, with weights for how events were selected, is told by the room of performance."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import numpy as np

from lifecycle.monitoring.alarm import Alarm, Severity, alarm_id_of
from lifecycle.monitoring.sequential.signs import Sign
from lifecycle.monitoring.watch.settings import WatchSettings
from lifecycle.monitoring.watch.stream_set import MAJOR, SetView, StreamFinding, StreamSet, after_rows
from lifecycle.monitoring.watch.words import moment

SUBJECT: Final = "false_alarms"
SHARE: Final = 0.1
"""Of the level; the columns, the score and the verdict have the rest."""
BASELINE: Final = 100
_BLOCK, _MEMORY, _LEAST = 5, 100, 20
_TRUE, _FALSE = 0, 1


class LabelledAlert(NamedTuple):
    """One alert that an analyst has judged. is_false: it was benign. time_us: when the label was recorded."""

    time_us: int
    is_false: bool


ReadLabels = Callable[[str, Mapping[str, int]], tuple[list[LabelledAlert], dict[str, int]]]
"""Given a model and a position: the labels that were recorded since, and the position after them."""


@dataclass(frozen=True, slots=True)
class LabelWatch:
    """What is known of a model's labelled alerts. revision: the one that the labels are about; position: how far labels were read."""

    revision: str = ""
    position: Mapping[str, int] = field(default_factory=dict)
    streams: StreamSet | None = None
    labels: int = 0


def with_labels(
    state: LabelWatch, labels: Sequence[LabelledAlert], model: str, revision: str, settings: WatchSettings, now_us: int
) -> tuple[LabelWatch, list[Alarm], list[tuple[Sign, int]]]:
    """The state after these labels, the alarms, and the quick signs. revision: the one that answers now; a new one begins anew."""
    own = replace(settings, block_rows=_BLOCK, memory_rows=_MEMORY, least_rows=_LEAST)
    streams = state.streams
    if streams is None or state.revision != revision or streams.capital.schedule != settings.schedule:
        streams = StreamSet.start(np.zeros((1, 2), dtype=np.int64), BASELINE, own)
    view = SetView("\x00".join([model, revision, "labels"]), np.array([True]), own, SHARE, signed=0)
    bins = np.array([[_FALSE if label.is_false else _TRUE] for label in labels], dtype=np.int64).reshape(len(labels), 1)
    streams, findings, signs = after_rows(streams, view, bins, np.array([label.time_us for label in labels], dtype=np.int64))
    before = float(streams.base[0, _FALSE]) / max(float(streams.base[0].sum()), 1.0)
    lately = float(streams.recent[0, _FALSE]) / max(float(streams.recent[0].sum()), 1.0)
    alarms = [_alarm(found, model, revision, (before, lately), now_us) for found in findings]
    return LabelWatch(revision, state.position, streams, state.labels + len(labels)), alarms, signs


def _alarm(finding: StreamFinding, model: str, revision: str, shares: tuple[float, float], now_us: int) -> Alarm:
    severity: Severity = "major" if finding.severity == MAJOR else "minor"
    named = alarm_id_of(
        model=model,
        revision=revision,
        kind="concept_drift",
        subject=SUBJECT,
        segment=None,
        statistic="e-process" if severity == "minor" else "e-process, major",
        began_us=finding.since_us,
    )
    return Alarm(
        alarm_id=named,
        model=model,
        revision=revision,
        kind="concept_drift",
        subject=SUBJECT,
        severity=severity,
        statistic="e-process",
        value=finding.e_value,
        threshold=finding.threshold,
        began_us=finding.since_us,
        time_us=now_us,
        words=(
            f"Analysts call {shares[1]:.0%} of the alerts of {model} benign, it was {shares[0]:.0%} in the first {BASELINE} labels of this "
            f"revision; since {moment(finding.since_us)}; evidence {finding.e_value:.3g} to 1."
        ),
        advice=(
            "If no column is alarmed, the same inputs now mean something else: see what the newly false alerts have in common with "
            "`vedette label list`, label more of them, and train again. Moving the threshold only trades false alarms for missed attacks."
        ),
    )
