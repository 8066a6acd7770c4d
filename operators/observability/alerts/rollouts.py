"""Alerts about rollouts and the operator: does what was decided happen, and who must do something."""

from typing import Final

from operators.observability.alerts.alert import Alert, AlertGroup
from operators.telemetry import operator_names as names

_IT: Final = "{{ $labels.namespace }}/{{ $labels.name }}"
UNFAIR_FROM: Final = 20.0
"""1/alpha of the default analysis: the verdict is worse."""


def _problem(kind: str) -> str:
    return f'max by (namespace, name) ({names.PROBLEM.name}{{kind=~"{kind}"}}) == 1'


def _waits(what: str) -> str:
    return f'max by (namespace, name) ({names.WAITING.name}{{for=~"{what}"}}) == 1'


GROUP: Final = AlertGroup(
    "rollouts",
    (
        Alert(
            "VedetteRolloutAborted",
            f'max by (namespace, name) ({names.PHASE.name}{{phase="Aborted"}}) == 1',
            "warning",
            f"The rollout of {_IT} was aborted",
            "The candidate was worse, or somebody aborted it. Stable serves all requests.",
            team="detection",
        ),
        Alert(
            "VedetteRolloutNeedsApproval",
            _waits("approval"),
            "warning",
            f"The rollout of {_IT} waits for an approval",
            "Nothing moves until the named roles have approved. The candidate keeps its share meanwhile.",
            lasts="30m",
            team="detection",
        ),
        Alert(
            "VedetteRolloutPaused",
            _waits("pause|inconclusive"),
            "info",
            f"The rollout of {_IT} waits for somebody",
            "A pause step, somebody's `pause`, or an analysis that reached its `maxDuration` without a verdict.",
            lasts="1h",
            team="detection",
        ),
        Alert(
            "VedetteRolloutStuck",
            _problem("overdue"),
            "warning",
            f"The rollout of {_IT} makes no progress",
            "No step passed within `progressDeadline`. Usually the evidence needs more requests than there are.",
            team="detection",
        ),
        Alert(
            "VedetteEvidenceMissing",
            _problem("measured"),
            "warning",
            f"The evidence for {_IT} cannot be read",
            "Without evidence no candidate is promoted or found worse.",
            lasts="10m",
        ),
        Alert(
            "VedetteDecisionNotActed",
            _problem("acted|recorded"),
            "critical",
            f"Decisions about {_IT} are not carried out",
            "The backend does not carry it out, or the status or an act cannot be written. Traffic may not be as the status says.",
            lasts="5m",
        ),
        Alert(
            "VedetteServiceInvalid",
            _problem("invalid"),
            "warning",
            f"The resource {_IT} is invalid",
            "The last valid state stays in force. The status says which field is wrong.",
            lasts="5m",
        ),
        Alert(
            "VedetteGlassBroken",
            f"max by (namespace, name) ({names.GLASS.name}) > 0",
            "warning",
            f"{_IT}: {{{{ $value }}}} approvals were passed by one person alone and are not reviewed",
            "Break-glass is for emergencies. Somebody else must review it.",
            team="audit",
        ),
        Alert(
            "VedetteCandidateUnfair",
            f'max by (namespace, name) ({names.E_VALUE.name}{{gate="fairness",against="no_worse"}}) >= {UNFAIR_FROM:g}',
            "warning",
            f"The candidate of {_IT} differs more between segments than stable does",
            "The evidence is enough for the verdict `worse` at the default level. The rollout aborts if it has this gate.",
            team="detection",
        ),
        Alert(
            "VedetteOperatorNoLeader",
            f"sum({names.LEADER.name}) == 0 or absent({names.LEADER.name})",
            "critical",
            "No operator leads",
            "Nobody looks at rollouts: no promotion, no abort. Replicas go on as they are.",
            lasts="2m",
        ),
        Alert(
            "VedetteOperatorBlind",
            f"max({names.WATCHING.name}) == 0",
            "critical",
            "The operator cannot read its resources from the API server",
            "The cause is its rights, the network or the API server. Changes of resources are not seen.",
            lasts="5m",
        ),
        Alert(
            "VedetteOperatorFails",
            f'sum(rate({names.LOOKS.name}{{outcome="failed"}}[10m])) / (sum(rate({names.LOOKS.name}[10m])) > 0) > 0.1',
            "warning",
            "{{ $value | humanizePercentage }} of the operator's looks fail",
            "Each is tried again, after growing pauses. The log and the Events of the resources name the reason.",
            lasts="10m",
        ),
        Alert(
            "VedetteNoticesNotTaken",
            f"sum({names.NOTICES_WAITING.name}) > 0",
            "warning",
            "{{ $value }} webhooks about rollouts were not accepted",
            "Nobody may know that a rollout was aborted or waits. They are sent again until the receiver accepts them.",
            lasts="15m",
        ),
    ),
)
