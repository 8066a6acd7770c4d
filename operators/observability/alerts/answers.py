"""Alerts about answers: are they by the model, on fresh features, and in time for everybody."""

from typing import Final

from operators.observability.alerts.alert import Alert, AlertGroup
from serving.telemetry import names

_MODEL: Final = "namespace, model"
_REFUSED: Final = f'sum by (namespace) (rate({names.REFUSALS.name}{{reason=~"busy|full|queue|late"}}[5m]))'
_ANSWERED: Final = f"sum by (namespace) (rate({names.REQUESTS.name}[5m]))"

GROUP: Final = AlertGroup(
    "answers",
    (
        Alert(
            "VedetteFeaturesDefaulted",
            f"sum by ({_MODEL}) (rate({names.DEGRADED.name}[5m])) / (sum by ({_MODEL}) (rate({names.ROWS.name}[5m])) > 0) > 0.05",
            "warning",
            "{{ $value | humanizePercentage }} of the rows of {{ $labels.model }} are answered with a missing or old feature",
            "Declared defaults stand in for what was missing, too old or not read in time. The verdicts say `degraded`.",
            lasts="5m",
        ),
        Alert(
            "VedetteFeaturesStale",
            f"histogram_quantile(0.9, sum by ({_MODEL}, le) (rate({names.FEATURE_AGE.name}_bucket[10m]))) > 900",
            "warning",
            "The features of {{ $labels.model }} are older than {{ $value | humanizeDuration }} in one request of ten",
            "The job or the stream that fills the online store is late. Values beyond their `ttl` become defaults.",
            lasts="10m",
        ),
        Alert(
            "VedetteBreakerOpen",
            f"max by (namespace, dependency) (max_over_time({names.BREAKER_STATE.name}[2m])) == 2",
            "warning",
            "The breaker of {{ $labels.dependency }} is open in {{ $labels.namespace }}",
            "The dependency fails or is slow, and is not asked meanwhile. features: rules or defaults answer. model: rules, or stable in "
            "place of a variant, or 503. cache: every request is a miss.",
            lasts="1m",
        ),
        Alert(
            "VedetteRulesAnswer",
            f'sum by ({_MODEL}) (rate({names.RULES_ANSWERS.name}{{out=~"features|model"}}[5m])) '
            f"/ (sum by ({_MODEL}) (rate({names.ROWS.name}[5m])) > 0) > 0.05",
            "warning",
            "{{ $value | humanizePercentage }} of the verdicts of {{ $labels.model }} are by its rules",
            "Rules are a fallback, not a detector: attacks that only the model knows are `investigate` or `benign` meanwhile.",
            lasts="5m",
            team="detection",
        ),
        Alert(
            "VedetteVariantFallsBack",
            f"sum by ({_MODEL}, variant) (rate({names.FALLBACKS.name}[10m])) > 0.01",
            "warning",
            "The variant {{ $labels.variant }} of {{ $labels.model }} fails, and stable answers instead",
            "Clients get verdicts. The failures count against the variant, so a rollout aborts by itself when the evidence is enough.",
            lasts="5m",
        ),
        Alert(
            "VedetteOverloaded",
            f"{_REFUSED} / ({_ANSWERED} + {_REFUSED} > 0) > 0.01",
            "warning",
            "{{ $value | humanizePercentage }} of the requests in {{ $labels.namespace }} are refused to answer the others in time",
            "There are more requests than the replicas can answer. Clients get 429 and `Retry-After`.",
            lasts="5m",
        ),
    ),
)
