"""The names of the monitor's metrics: each once. docs/reference/monitor.md is made from this."""

from typing import Final

from serving.telemetry.metric_doc import MetricDoc

_MODEL: Final = ("model",)
LOOKS: Final = MetricDoc("vedette_monitor_looks_total", "counter", _MODEL, "Looks at the answers of a model.")
ROWS: Final = MetricDoc("vedette_monitor_rows_total", "counter", _MODEL, "Rows of the prediction log that were read.")
ALARMS: Final = MetricDoc(
    "vedette_monitor_alarms_total",
    "counter",
    (*_MODEL, "kind", "severity"),
    "Alarms that were raised since the monitor started.",
)
FAILURES: Final = MetricDoc(
    "vedette_monitor_failures_total",
    "counter",
    ("what",),
    "Failures: look (a state or an alarm could not be kept, it is done again), act (a major alarm is not in the log of governed acts yet), "
    "deliver (a receiver did not take an alarm, it is sent again).",
)
LAST_LOOK: Final = MetricDoc(
    "vedette_monitor_last_look_seconds", "gauge", _MODEL, "When the monitor looked last, seconds since the epoch."
)
NEWEST: Final = MetricDoc(
    "vedette_monitor_newest_row_seconds", "gauge", _MODEL, "Time of the newest row that was read, seconds since the epoch."
)
WATCHED: Final = MetricDoc(
    "vedette_monitor_watched", "gauge", _MODEL, "1 if the model has a reference to compare with, 0 if it has none."
)
E_VALUE: Final = MetricDoc(
    "vedette_monitor_e_value",
    "gauge",
    (*_MODEL, "subject"),
    "Evidence that a column, the score or the verdict has drifted; 1 means no evidence. It is valid at every look.",
)
PSI: Final = MetricDoc(
    "vedette_monitor_psi",
    "gauge",
    (*_MODEL, "subject"),
    "Size of the change as PSI beyond chance, over the latest rows; 0: none.",
)
OPEN: Final = MetricDoc(
    "vedette_monitor_open", "gauge", (*_MODEL, "severity"), "Columns, scores and verdicts of the model that are alarmed now."
)
SEGMENTS_OPEN: Final = MetricDoc(
    "vedette_monitor_segments_open",
    "gauge",
    (*_MODEL, "severity"),
    "Segments (`--by`) of which a column, the score or the verdict is alarmed now.",
)
FALLEN: Final = MetricDoc(
    "vedette_monitor_fallen",
    "gauge",
    (*_MODEL, "figure"),
    "1 while an alarm stands that precision or recall has fallen, by late labels. It stands for 14 days, then the figure is watched anew.",
)
NEWEST_LABEL: Final = MetricDoc(
    "vedette_monitor_newest_label_seconds",
    "gauge",
    _MODEL,
    "When an analyst last labelled an alert of the model, seconds since the epoch. Absent: nobody has.",
)
JUDGED: Final = MetricDoc(
    "vedette_monitor_judged_seconds",
    "gauge",
    _MODEL,
    "Up to when rows were judged by their labels, seconds since the epoch. Later rows wait for theirs.",
)
UNDELIVERED: Final = MetricDoc(
    "vedette_monitor_undelivered", "gauge", ("receiver",), "Alarms that a receiver has not taken yet."
)
MONITOR_METRICS: Final = (
    *(LOOKS, ROWS, ALARMS, FAILURES, LAST_LOOK, NEWEST, WATCHED, E_VALUE, PSI, OPEN),
    *(SEGMENTS_OPEN, FALLEN, NEWEST_LABEL, JUDGED, UNDELIVERED),
)
