"""The dashboard of detection engineers: what the models say, and whether they still know the world."""

from typing import Final

from operators.observability.dashboards.panel import Dashboard, Panel, PanelRow, Query
from operators.telemetry import monitor_names as monitor
from operators.telemetry import operator_names as operator
from operators.telemetry import sink_names as sinks
from serving.telemetry import names
from serving.telemetry import stream_names as stream
from serving.telemetry.evidence import OTHER

_HERE: Final = 'namespace=~"$namespace"'
_MODEL: Final = f'{_HERE},model=~"$model"'
_OF_MODEL: Final = 'model=~"$model"'
_BY: Final = "model, version, variant"

_VERDICTS: Final = PanelRow(
    "Verdicts",
    (
        Panel(
            "Alerts",
            "Alerts a minute by model, version and variant.",
            (
                Query(
                    f'60 * sum by ({_BY}) (rate({names.VERDICT.name}{{{_MODEL},verdict="alert"}}[5m]))',
                    "{{model}} {{version}} {{variant}}",
                ),
            ),
            unit="cpm",
            runbook="models.md#vedettealertflood",
        ),
        Panel(
            "Share of alerts",
            "Of all rows, by operating point.",
            (
                Query(
                    f'sum by (model, variant, operating_point) (rate({names.VERDICT.name}{{{_MODEL},verdict="alert"}}[15m])) '
                    f"/ sum by (model, variant, operating_point) (rate({names.VERDICT.name}{{{_MODEL}}}[15m]))",
                    "{{model}} {{variant}} {{operating_point}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Beside last week",
            "Alerts a minute now and a week ago.",
            (
                Query(f'60 * sum by (model) (rate({names.VERDICT.name}{{{_MODEL},verdict="alert"}}[1h]))', "{{model}} now"),
                Query(
                    f'60 * sum by (model) (rate({names.VERDICT.name}{{{_MODEL},verdict="alert"}}[1h] offset 1w))',
                    "{{model}} a week ago",
                ),
            ),
            unit="cpm",
        ),
        Panel(
            "To investigate, unknown",
            "Rows a minute that get neither `benign` nor `alert`.",
            (
                Query(
                    f'60 * sum by (model, verdict) (rate({names.VERDICT.name}{{{_MODEL},verdict=~"investigate|unknown"}}[5m]))',
                    "{{model}} {{verdict}}",
                ),
            ),
            unit="cpm",
        ),
        Panel(
            "Suppressed",
            "Verdicts a minute that a suppression lowered.",
            (
                Query(
                    f"60 * sum by (model, suppression) (rate({names.SUPPRESSED.name}{{{_MODEL}}}[15m]))",
                    "{{model}} {{suppression}}",
                ),
            ),
            unit="cpm",
        ),
        Panel(
            "Rules",
            "The ten rules that match most, rows a minute.",
            (
                Query(
                    f"topk(10, 60 * sum by (model, rule) (rate({names.RULES_MATCHES.name}{{{_MODEL}}}[15m])))",
                    "{{model}} {{rule}}",
                ),
            ),
            unit="cpm",
        ),
        Panel(
            "Rules in place of the model",
            "Rows a minute that rules answered because features or the model were out.",
            (Query(f"60 * sum by (model, out) (rate({names.RULES_ANSWERS.name}{{{_MODEL}}}[5m]))", "{{model}} {{out}}"),),
            unit="cpm",
            runbook="answers.md#vedetterulesanswer",
        ),
        Panel(
            "Explanations",
            "Asked for, a minute, by outcome.",
            (
                Query(
                    f"60 * sum by (method, outcome) (rate({names.EXPLANATIONS.name}{{{_MODEL}}}[15m]))",
                    "{{method}} {{outcome}}",
                ),
            ),
            unit="cpm",
        ),
        Panel(
            "Closer looks, risks and correlations of streams",
            "Sizes of the states, and alerts a minute that the stream wrote.",
            (
                Query(f"sum by (kind, what) ({stream.STREAM_STATE.name}{{{_HERE}}})", "{{kind}} {{what}}"),
                Query(f"60 * sum(rate({stream.STREAM_ALERTS.name}{{{_HERE}}}[5m]))", "alerts"),
            ),
        ),
    ),
)
_DRIFT: Final = PanelRow(
    "Drift, performance, labels",
    (
        Panel(
            "Alarmed now",
            "Columns, scores and verdicts.",
            (Query(f"{monitor.OPEN.name}{{{_OF_MODEL}}}", "{{model}} {{severity}}"),),
            red_from=1,
            runbook="models.md#vedettemodeldrift",
        ),
        Panel(
            "Evidence of drift",
            "The ten largest e-values: 1 means no evidence.",
            (Query(f"topk(10, {monitor.E_VALUE.name}{{{_OF_MODEL}}})", "{{model}} {{subject}}"),),
        ),
        Panel(
            "Size of the change",
            "The ten largest, as PSI beyond chance.",
            (Query(f"topk(10, {monitor.PSI.name}{{{_OF_MODEL}}})", "{{model}} {{subject}}"),),
        ),
        Panel(
            "Segments",
            "Segments that are alarmed.",
            (Query(f"{monitor.SEGMENTS_OPEN.name}{{{_OF_MODEL}}}", "{{model}} {{severity}}"),),
            runbook="models.md#vedettesegmentdrift",
        ),
        Panel(
            "Precision and recall fell",
            "1 while an alarm stands.",
            (Query(f"{monitor.FALLEN.name}{{{_OF_MODEL}}}", "{{model}} {{figure}}"),),
            red_from=1,
            runbook="models.md#vedetteperformancefell",
        ),
        Panel(
            "Labels",
            "How long ago an alert was labelled last, and up to when rows are judged.",
            (
                Query(f"time() - {monitor.NEWEST_LABEL.name}{{{_OF_MODEL}}}", "{{model}} newest label"),
                Query(f"time() - {monitor.JUDGED.name}{{{_OF_MODEL}}}", "{{model}} judged"),
            ),
            unit="s",
            runbook="models.md#vedettelabelslate",
        ),
        Panel(
            "Alarms",
            "Raised in a day, by kind.",
            (
                Query(
                    f"sum by (model, kind, severity) (increase({monitor.ALARMS.name}{{{_OF_MODEL}}}[1d])) > 0",
                    "{{model}} {{kind}}",
                ),
            ),
        ),
        Panel(
            "The monitor",
            "Seconds since its last look; rows a second.",
            (
                Query(f"time() - {monitor.LAST_LOOK.name}{{{_OF_MODEL}}}", "{{model}} since the last look"),
                Query(f"rate({monitor.ROWS.name}{{{_OF_MODEL}}}[5m])", "{{model}} rows"),
            ),
            runbook="models.md#vedettemonitorstandsstill",
        ),
        Panel(
            "Not watched",
            "Models that answer and have no reference.",
            (Query(f"{monitor.WATCHED.name}{{{_OF_MODEL}}} == 0", "{{model}}"),),
            kind="table",
            runbook="models.md#vedettemodelnotwatched",
        ),
    ),
)
_CANDIDATES: Final = PanelRow(
    "Candidates",
    (
        Panel(
            "Flips",
            "Mirrored rows a minute on which stable and the candidate differ.",
            (
                Query(
                    f"60 * sum by (model, reference, candidate) "
                    f'(rate({names.EVIDENCE_PAIRS.name}{{{_MODEL},against!="{OTHER}"}}[15m])) > 0',
                    "{{model}} {{reference}} to {{candidate}}",
                ),
            ),
            unit="cpm",
        ),
        Panel(
            "Alerts by variant",
            "Share of rows of the split that are alerts.",
            (
                Query(
                    f'sum by (model, variant) (rate({names.EVIDENCE_BAD.name}{{{_MODEL},gate="alertRate",route="live"}}[15m])) '
                    f'/ sum by (model, variant) (rate({names.EVIDENCE_ROWS.name}{{{_MODEL},route="live"}}[15m]))',
                    "{{model}} {{variant}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Verdict of the evidence",
            "At the last look.",
            (Query(f"{operator.VERDICT.name}{{{_HERE}}} == 1", "{{name}} {{verdict}}"),),
            kind="table",
        ),
        Panel(
            "Segments: share of alerts",
            "While a variant stands beside stable.",
            (
                Query(
                    f'sum by (model, variant, segment) (rate({names.EVIDENCE_SEGMENT_ALERTS.name}{{{_MODEL},unit="live"}}[1h])) '
                    f'/ sum by (model, variant, segment) (rate({names.EVIDENCE_SEGMENT_ROWS.name}{{{_MODEL},unit="live"}}[1h]))',
                    "{{model}} {{variant}} {{segment}}",
                ),
            ),
            unit="percentunit",
            runbook="models.md#vedettesegmentflagged",
        ),
        Panel(
            "Mirrored copies",
            "A second, by outcome.",
            (
                Query(
                    f"sum by (model, variant, outcome) (rate({names.MIRRORED.name}{{{_MODEL}}}[5m]))",
                    "{{model}} {{variant}} {{outcome}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Alerts to SIEMs",
            "A minute, by sink and outcome.",
            (Query(f"60 * sum by (sink, outcome) (rate({sinks.ALERTS.name}[5m])) > 0", "{{sink}} {{outcome}}"),),
            unit="cpm",
            runbook="streams.md#vedettesinkdown",
        ),
    ),
)
DETECTION: Final = Dashboard(
    "vedette-detection",
    "Vedette: detection",
    "What models say by version and variant; drift, performance and labels; candidates; suppressions, rules, alerts to SIEMs.",
    (_VERDICTS, _DRIFT, _CANDIDATES),
)
