"""The dashboard of SREs: do replicas answer, in time, and have they room; what is rolled out now."""

from typing import Final

from operators.observability import jobs
from operators.observability.alerts.slo import OBJECTIVES
from operators.observability.dashboards.callers import TRUST
from operators.observability.dashboards.panel import Dashboard, Panel, PanelRow, Query
from operators.telemetry import operator_names as operator
from serving.telemetry import door_names as doors
from serving.telemetry import names
from serving.telemetry import stream_names as stream

_HERE: Final = 'namespace=~"$namespace"'
_MODEL: Final = f'{_HERE},model=~"$model"'
_REPLICA: Final = f'{_HERE},job="{jobs.REPLICA}"'
_BY: Final = "model, version, variant"


def _quantile(q: float, stage: str) -> Query:
    rate = f'rate({names.SECONDS.name}_bucket{{{_MODEL},stage="{stage}"}}[5m])'
    return Query(
        f"histogram_quantile({q}, sum by ({_BY}, le) ({rate}))", f"{{{{model}}}} {{{{version}}}} {{{{variant}}}} p{q * 100:g}"
    )


_RED: Final = PanelRow(
    "Rate, errors, duration: by model, version and variant",
    (
        Panel(
            "Requests",
            "Requests of a model a second.",
            (Query(f"sum by ({_BY}) (rate({names.REQUESTS.name}{{{_MODEL}}}[5m]))", "{{model}} {{version}} {{variant}}"),),
            unit="reqps",
        ),
        Panel(
            "Not answered",
            "Share of requests that failed or were refused. Mistakes of clients are not among them.",
            (
                Query(
                    f'sum by ({_BY}, outcome) (rate({names.REQUESTS.name}{{{_MODEL},outcome=~"failed|refused"}}[5m])) '
                    f"/ on ({_BY}) group_left () sum by ({_BY}) (rate({names.REQUESTS.name}{{{_MODEL}}}[5m]))",
                    "{{model}} {{version}} {{variant}} {{outcome}}",
                ),
            ),
            unit="percentunit",
            red_from=0.001,
            runbook="objectives.md#vedetteavailabilityburnsfast",
        ),
        Panel(
            "Duration",
            "Time in the service, without the decoding of the door.",
            (_quantile(0.5, "total"), _quantile(0.99, "total")),
            unit="s",
            red_from=0.1,
            runbook="objectives.md#vedettelatencyburnsfast",
        ),
        Panel("Features", "Time of the online read, 99th percentile.", (_quantile(0.99, "features"),), unit="s"),
        Panel("Model", "Time of the ONNX run, 99th percentile.", (_quantile(0.99, "model"),), unit="s"),
        Panel(
            "Refused by the doors",
            "Everything that a door answered with an error or broke off, by reason, whether or not a model was asked.",
            (Query(f"sum by (door, reason) (rate({doors.DOOR_REFUSED.name}{{{_HERE}}}[5m])) > 0", "{{door}} {{reason}}"),),
            unit="reqps",
            runbook="security.md#vedetterubbishrefused",
        ),
    ),
)
_OBJECTIVES: Final = PanelRow(
    "Objectives",
    tuple(
        Panel(
            f"{objective.title}: budget burns",
            f"How many times faster than the budget allows, of: {objective.words} ({objective.objective:.1%}). 14.4 over an hour pages.",
            tuple(
                Query(
                    f"{objective.ratio(w)}{{{_HERE}}} / {objective.budget:g}",
                    ("{{model}} " if "model" in objective.by else "") + w,
                )
                for w in ("5m", "1h", "6h", "3d")
            ),
            red_from=14.4,
            runbook=f"objectives.md#vedette{objective.title.lower()}burnsfast",
        )
        for objective in OBJECTIVES
    ),
)
_USE: Final = PanelRow(
    "Use, saturation, errors: of replicas",
    (
        Panel(
            "Replicas that answer",
            "0 or 1 for each.",
            (Query(f"sum by (namespace) (up{{{_REPLICA}}})", "{{namespace}}"),),
            kind="stat",
            runbook="replicas.md#vedettereplicaaway",
        ),
        Panel(
            "Processor",
            "Processors in use.",
            (Query(f"rate(process_cpu_seconds_total{{{_REPLICA}}}[5m])", "{{pod}}"),),
        ),
        Panel(
            "Memory",
            "Share of what the container may use.",
            (Query(f"process_resident_memory_bytes{{{_REPLICA}}} / {names.MEMORY_LIMIT.name}{{{_REPLICA}}}", "{{pod}}"),),
            unit="percentunit",
            red_from=0.9,
            runbook="replicas.md#vedettereplicamemory",
        ),
        Panel(
            "Event loop",
            "How long a request waits before it is read.",
            (Query(f"rate({names.LOOP_LATE.name}{{{_HERE}}}[5m]) / rate({names.LOOP_LOOKS.name}{{{_HERE}}}[5m])", "{{pod}}"),),
            unit="s",
            red_from=0.05,
            runbook="replicas.md#vedettereplicalate",
        ),
        Panel(
            "Under way",
            "Requests, runs in the models' own threads, mirrored copies and explanations that wait.",
            (
                Query(f"{names.ONGOING.name}{{{_HERE}}}", "{{pod}} requests"),
                Query(f"sum by (pod) ({names.RUNS_UNDER_WAY.name}{{{_MODEL}}})", "{{pod}} runs"),
                Query(f"{names.MIRROR_WAITING.name}{{{_HERE}}}", "{{pod}} copies"),
                Query(f"{names.EXPLANATIONS_UNDER_WAY.name}{{{_HERE}}}", "{{pod}} explanations"),
            ),
        ),
        Panel(
            "Connections",
            "Share of those that a door takes.",
            (
                Query(
                    f"{doors.DOOR_CONNECTIONS.name}{{{_HERE}}} / {doors.DOOR_CONNECTIONS_MOST.name}{{{_HERE}}}",
                    "{{pod}} {{door}}",
                ),
            ),
            unit="percentunit",
            red_from=0.8,
            runbook="replicas.md#vedettereplicaconnections",
        ),
        Panel(
            "File descriptors",
            "Share of those that the process may open.",
            (Query(f"process_open_fds{{{_REPLICA}}} / process_max_fds{{{_REPLICA}}}", "{{pod}}"),),
            unit="percentunit",
            red_from=0.8,
            runbook="replicas.md#vedettereplicafiles",
        ),
        Panel(
            "Threads and bodies",
            "Threads of the process; bytes of requests that have begun to arrive.",
            (
                Query(f"{names.THREADS.name}{{{_HERE}}}", "{{pod}} threads"),
                Query(f"sum by (pod) ({doors.DOOR_UNFINISHED.name}{{{_HERE}}})", "{{pod}} bytes"),
            ),
        ),
        Panel(
            "Refused early",
            "Requests refused to answer the others in time, a second, by reason.",
            (Query(f"sum by (reason) (rate({names.REFUSALS.name}{{{_HERE}}}[5m]))", "{{reason}}"),),
            unit="reqps",
            runbook="answers.md#vedetteoverloaded",
        ),
    ),
)
_DEPENDENCIES: Final = PanelRow(
    "Features, cache, breakers",
    (
        Panel(
            "Age of features",
            "Oldest stored value of an answer, 50th and 90th percentile.",
            tuple(
                Query(
                    f"histogram_quantile({q}, sum by (model, le) (rate({names.FEATURE_AGE.name}_bucket{{{_MODEL}}}[5m])))",
                    f"{{{{model}}}} p{q * 100:g}",
                )
                for q in (0.5, 0.9)
            ),
            unit="s",
            red_from=900,
            runbook="answers.md#vedettefeaturesstale",
        ),
        Panel(
            "Rows with a missing or old feature",
            "Share of the rows. Declared defaults stand in.",
            (
                Query(
                    f"sum by (model) (rate({names.DEGRADED.name}{{{_MODEL}}}[5m])) "
                    f"/ sum by (model) (rate({names.ROWS.name}{{{_MODEL}}}[5m]))",
                    "{{model}}",
                ),
            ),
            unit="percentunit",
            red_from=0.05,
            runbook="answers.md#vedettefeaturesdefaulted",
        ),
        Panel(
            "Breakers",
            "0 closed, 1 half-open, 2 open.",
            (Query(f"max by (dependency) ({names.BREAKER_STATE.name}{{{_HERE}}})", "{{dependency}}"),),
            red_from=2,
            runbook="answers.md#vedettebreakeropen",
        ),
        Panel(
            "Prediction cache",
            "Model runs a second by what the cache did.",
            (Query(f"sum by (outcome) (rate({names.CACHE_REQUESTS.name}{{{_MODEL}}}[5m]))", "{{outcome}}"),),
            unit="ops",
        ),
        Panel(
            "Time that the cache saved",
            "Seconds of model runs, a second.",
            (Query(f"sum by (model) (rate({names.CACHE_SAVED.name}{{{_MODEL}}}[5m]))", "{{model}}"),),
        ),
        Panel(
            "Stream",
            "Events that were not read yet, and how old the newest that was read is.",
            (
                Query(f"sum by (topic) ({stream.STREAM_LAG.name}{{{_HERE}}})", "{{topic}} events"),
                Query(f"max by (topic) ({stream.STREAM_LAG_SECONDS.name}{{{_HERE}}})", "{{topic}} seconds"),
            ),
            runbook="streams.md#vedettestreambehind",
        ),
    ),
)
_ROLLOUTS: Final = PanelRow(
    "Rollouts now",
    (
        Panel(
            "Phase",
            "Where each rollout stands.",
            (Query(f"{operator.PHASE.name}{{{_HERE}}} == 1", "{{name}}"),),
            kind="table",
            runbook="rollouts.md#vedetterolloutaborted",
        ),
        Panel(
            "Weight of the candidate",
            "Percentage of entities that it serves.",
            (Query(f"{operator.WEIGHT.name}{{{_HERE}}}", "{{name}}"),),
            unit="percent",
        ),
        Panel(
            "Evidence",
            "E-values of the gates: at 1/alpha (20) against `no_worse` the candidate is worse.",
            (Query(f"{operator.E_VALUE.name}{{{_HERE}}}", "{{name}} {{gate}} against {{against}}"),),
            red_from=20,
        ),
        Panel(
            "Waits for people",
            "Rollouts that wait for an approval, a pause to end, or a decision.",
            (Query(f"{operator.WAITING.name}{{{_HERE}}} == 1", "{{name}} {{for}}"),),
            kind="table",
            runbook="rollouts.md#vedetterolloutneedsapproval",
        ),
        Panel(
            "Problems",
            "What keeps a rollout from going on.",
            (Query(f"{operator.PROBLEM.name}{{{_HERE}}} == 1", "{{name}} {{kind}}"),),
            kind="table",
            runbook="rollouts.md#vedettedecisionnotacted",
        ),
        Panel(
            "The operator",
            "Looks a second by outcome; who leads.",
            (
                Query(f"sum by (outcome) (rate({operator.LOOKS.name}[5m]))", "{{outcome}}"),
                Query(f"sum({operator.LEADER.name})", "leaders"),
            ),
            runbook="rollouts.md#vedetteoperatorfails",
        ),
    ),
)
SRE: Final = Dashboard(
    "vedette-sre",
    "Vedette: SRE",
    "Rate, errors and duration of models; use and saturation of replicas; objectives; features, breakers, streams; callers; rollouts.",
    (_RED, _OBJECTIVES, _USE, _DEPENDENCIES, TRUST, _ROLLOUTS),
)
