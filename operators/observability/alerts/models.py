"""Alerts about models: do they still know the world that they are asked about, and does somebody look."""

from typing import Final

from operators.observability.alerts.alert import Alert, AlertGroup
from operators.telemetry import monitor_names as monitor
from serving.telemetry import names

LABELS_LATE_DAYS: Final = 14
_DAY_S: Final = 86_400


def _alerts(offset: str = "") -> str:
    return f'sum by (namespace, model) (rate({names.VERDICT.name}{{verdict="alert"}}[1h] {offset}))'


def _segment_share(segment: str, by: str) -> str:
    alerts, rows = (
        f'sum by ({by}) (rate({m.name}{{unit="live",segment{segment}}}[6h]))'
        for m in (names.EVIDENCE_SEGMENT_ALERTS, names.EVIDENCE_SEGMENT_ROWS)
    )
    return f"{alerts} / ({rows} > 0)"


_OF_SEGMENT: Final = _segment_share('!="_all"', "namespace, model, variant, segment")
_OF_ALL: Final = _segment_share('="_all"', "namespace, model, variant")

GROUP: Final = AlertGroup(
    "models",
    (
        Alert(
            "VedetteModelDrift",
            f'sum by (model) ({monitor.OPEN.name}{{severity="major"}}) > 0',
            "warning",
            "{{ $labels.model }} drifts: {{ $value }} columns, scores or verdicts are alarmed",
            "`vedette monitor show {{ $labels.model }}` names them, says how large the changes are, and what to do.",
            team="detection",
        ),
        Alert(
            "VedetteSegmentDrift",
            f'sum by (model) ({monitor.SEGMENTS_OPEN.name}{{severity="major"}}) > 0',
            "warning",
            "{{ $value }} segments of {{ $labels.model }} drift",
            "Something changed for some hosts or users only. `vedette monitor show` names the segments.",
            team="detection",
        ),
        Alert(
            "VedettePerformanceFell",
            f"max by (model, figure) ({monitor.FALLEN.name}) == 1",
            "warning",
            "The {{ $labels.figure }} of {{ $labels.model }} has fallen",
            "Measured with late labels, by a test that is valid at any time. `vedette performance {{ $labels.model }}` has the figures.",
            team="detection",
        ),
        Alert(
            "VedetteMeaningChanged",
            f'sum by (model) (increase({monitor.ALARMS.name}{{kind=~"concept_drift|coverage"}}[1d])) > 0',
            "warning",
            "The same inputs of {{ $labels.model }} mean something else than before",
            "Analysts call more or fewer of its alerts false, or its prediction sets miss the true class. Only retraining helps.",
            team="detection",
        ),
        Alert(
            "VedetteAlertFlood",
            f"{_alerts()} > 3 * {_alerts('offset 1w')} and {_alerts()} * 3600 > 50",
            "warning",
            "{{ $labels.model }} raises {{ $value | humanize }} alerts a second, more than three times as many as a week ago",
            "An attack, a new source of events, or a model that drifts. Analysts cannot look at all of them.",
            lasts="15m",
            team="detection",
        ),
        Alert(
            "VedetteSegmentFlagged",
            f"({_OF_SEGMENT}) > on (namespace, model, variant) group_left () (3 * ({_OF_ALL}))",
            "info",
            "{{ $labels.variant }} of {{ $labels.model }} alerts on {{ $value | humanizePercentage }} of the rows of {{ $labels.segment }}",
            "More than three times the share of all rows. Not a fault by itself: the segment may be attacked. Compare the segments with "
            "labels before anything is changed.",
            lasts="1h",
            team="detection",
        ),
        Alert(
            "VedetteLabelsLate",
            f"max by (model) (time() - {monitor.NEWEST_LABEL.name}) > {LABELS_LATE_DAYS * _DAY_S}",
            "info",
            "No alert of {{ $labels.model }} was labelled for {{ $value | humanizeDuration }}",
            "Without labels nobody knows its precision and recall, and gates on them stay undecided.",
            team="detection",
        ),
        Alert(
            "VedetteJudgementLate",
            f"max by (model) (time() - {monitor.JUDGED.name}) > {2 * LABELS_LATE_DAYS * _DAY_S}",
            "info",
            "The rows of {{ $labels.model }} of the last {{ $value | humanizeDuration }} are not judged",
            "Labels come so late, or so few, that a fall of precision or recall would be seen weeks after it began.",
            team="detection",
        ),
        Alert(
            "VedetteMonitorStandsStill",
            f"time() - {monitor.LAST_LOOK.name} > 300",
            "warning",
            "The monitor has not looked at {{ $labels.model }} for {{ $value | humanizeDuration }}",
            "Drift is not seen meanwhile. Its stderr and vedette_monitor_failures_total name the reason.",
            lasts="1m",
        ),
        Alert(
            "VedetteMonitorGone",
            f"absent({monitor.LAST_LOOK.name})",
            "warning",
            "No monitor is scraped",
            "Its pod does not run, or is not scraped. It loses nothing: when it is back, it continues at its last position.",
            lasts="10m",
        ),
        Alert(
            "VedetteAlarmsNotTaken",
            f"{monitor.UNDELIVERED.name} > 0",
            "warning",
            "{{ $value }} alarms were not accepted by {{ $labels.receiver }}",
            'They are sent again until the receiver accepts them. vedette_monitor_failures_total{what="deliver"} counts the attempts.',
            lasts="15m",
        ),
        Alert(
            "VedetteModelNotWatched",
            f"{monitor.WATCHED.name} == 0 and {monitor.NEWEST.name} > 0",
            "info",
            "{{ $labels.model }} answers and is not watched",
            "Its bundle has no reference sample. `vedette monitor show {{ $labels.model }}` says what to do.",
            lasts="15m",
            team="detection",
        ),
    ),
)
