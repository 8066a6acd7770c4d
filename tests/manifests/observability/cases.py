"""For each alert the series with which it fires, and those with which it does not, by a little."""

from dataclasses import dataclass, field

NS = 'namespace="soc"'
POD = f'{NS},pod="p1",instance="10.0.0.1:8080"'
MODEL = f'{NS},model="flows"'
NAME = f'{NS},name="flows"'


@dataclass(frozen=True)
class Case:
    """fires, quiet: series and their values. at_min: the minute at which is looked."""

    fires: dict[str, str]
    quiet: dict[str, str]
    at_min: int = 30
    quiet_at_min: int | None = None
    alerts: int = field(default=1)
    """How many fire."""


def one(series: str, fires: str, quiet: str, at_min: int = 30, **more) -> Case:
    return Case({series: fires}, {series: quiet}, at_min, **more)


def both(fixed: dict[str, str], series: str, fires: str, quiet: str, at_min: int = 30) -> Case:
    return Case({**fixed, series: fires}, {**fixed, series: quiet}, at_min)


def requests(ok: float, bad: float, minutes: int = 400, model: str = "flows") -> dict[str, str]:
    """Requests a minute by outcome."""
    labels = f'{NS},model="{model}",version="1",variant="stable",door="http"'
    return {
        f'vedette_requests_total{{{labels},outcome="ok"}}': f"0+{ok}x{minutes}",
        f'vedette_requests_total{{{labels},outcome="failed"}}': f"0+{bad}x{minutes}",
        f'vedette_requests_total{{{labels},outcome="client_error"}}': f"0+1000x{minutes}",
    }


def times(metric: str, labels: str, le: str, total: float, late: float, minutes: int = 400) -> dict[str, str]:
    """A histogram: how many a minute, and how many of them over the bound."""
    return {
        f"{metric}_count{{{labels}}}": f"0+{total}x{minutes}",
        f'{metric}_bucket{{{labels},le="{le}"}}': f"0+{total - late}x{minutes}",
    }


STAGE = f'{MODEL},version="1",variant="stable",door="http",stage="total"'
LATENCY = ("vedette_request_seconds", STAGE, "0.1")
VERDICT = ("vedette_stream_latency_seconds", POD, "5.0")

FAST: dict[str, Case] = {
    "VedetteAvailabilityBurnsFast": Case(requests(980, 20), requests(995, 5), at_min=390),
    "VedetteLatencyBurnsFast": Case(times(*LATENCY, 1000, 200), times(*LATENCY, 1000, 50), at_min=390),
    "VedetteVerdictTimeBurnsFast": Case(times(*VERDICT, 1000, 200), times(*VERDICT, 1000, 50), at_min=390),
}
"""Of the last six hours."""

SLOW: dict[str, Case] = {
    "VedetteAvailabilityBurnsSlowly": Case(requests(9960, 40, 160), requests(9995, 5, 160), at_min=4710),
    "VedetteLatencyBurnsSlowly": Case(times(*LATENCY, 1000, 40, 160), times(*LATENCY, 1000, 5, 160), at_min=4710),
    "VedetteVerdictTimeBurnsSlowly": Case(times(*VERDICT, 1000, 40, 160), times(*VERDICT, 1000, 5, 160), at_min=4710),
}
"""Of the last three days."""

REPLICAS: dict[str, Case] = {
    "VedetteNoReplica": Case(
        {f'up{{job="vedette-replica",{POD}}}': "1x10 0x30", f'up{{job="vedette-replica",{NS},pod="p2"}}': "0x40"},
        {f'up{{job="vedette-replica",{POD}}}': "1x40", f'up{{job="vedette-replica",{NS},pod="p2"}}': "0x40"},
    ),
    "VedetteReplicaAway": one(f'up{{job="vedette-replica",{POD}}}', "1x10 0x30", "1x28 0x10"),
    "VedetteTargetAway": one(f'up{{job="vedette-monitor",{POD}}}', "1x10 0x30", "1x27 0x10"),
    "VedetteReplicaRestarting": Case(
        {f'vedette_start_time_seconds{{{POD},replica="r{n}"}}': f"_x{n * 5} 1x3" for n in range(5)},
        {f'vedette_start_time_seconds{{{POD},replica="r{n}"}}': f"_x{n * 5} 1x3" for n in range(3)},
        at_min=25,
    ),
    "VedetteModelNotLoaded": one(
        f'vedette_model_failed{{{POD},replica="r",model="flows",version="2",variant="stable",revision="d",reason="its probe failed"}}',
        "1x40", "_x29 1x5",
    ),
    "VedetteReplicaMemory": both(
        {f'vedette_memory_limit_bytes{{job="vedette-replica",{POD},replica="r"}}': "1000x40"},
        f'process_resident_memory_bytes{{job="vedette-replica",{POD},replica="r"}}', "950x40", "890x40",
    ),
    "VedetteReplicaFiles": both(
        {f'process_max_fds{{job="vedette-replica",{POD},replica="r"}}': "1000x40"},
        f'process_open_fds{{job="vedette-replica",{POD},replica="r"}}', "850x40", "790x40",
    ),
    "VedetteReplicaConnections": both(
        {f'vedette_door_connections_limit{{{POD},replica="r",door="http"}}': "100x40"},
        f'vedette_door_connections{{{POD},replica="r",door="http"}}', "90x40", "80x40",
    ),
    "VedetteReplicaLate": both(
        {f'vedette_loop_looks_total{{{POD},replica="r"}}': "0+1000x40"},
        f'vedette_loop_late_seconds_total{{{POD},replica="r"}}', "0+80x40", "0+20x40",
    ),
}  # fmt: skip

_ROWS = {f'vedette_rows_total{{{MODEL},version="1",variant="stable",door="http"}}': "0+1000x40"}
ANSWERS: dict[str, Case] = {
    "VedetteFeaturesDefaulted": both(
        _ROWS, f'vedette_degraded_rows_total{{{MODEL},version="1",variant="stable",door="http"}}', "0+80x40", "0+40x40"
    ),
    "VedetteFeaturesStale": Case(
        {
            f'vedette_feature_age_seconds_bucket{{{MODEL},le="{le}"}}': f"0+{n}x40"
            for le, n in (("300.0", 0), ("900.0", 10), ("1800.0", 100), ("+Inf", 100))
        },
        {
            f'vedette_feature_age_seconds_bucket{{{MODEL},le="{le}"}}': f"0+{n}x40"
            for le, n in (("300.0", 50), ("900.0", 95), ("1800.0", 100), ("+Inf", 100))
        },
    ),
    "VedetteBreakerOpen": one(f'vedette_breaker_state{{{POD},replica="r",dependency="features"}}', "2 0 1 2 1 2 1 2x40", "1x40", 9),
    "VedetteRulesAnswer": both(
        _ROWS, f'vedette_rules_answers_total{{{MODEL},version="1",variant="stable",out="features"}}', "0+80x40", "0+40x40"
    ),
    "VedetteVariantFallsBack": one(
        f'vedette_fallbacks_total{{{MODEL},version="2",variant="candidate"}}', "0+2x40", "0x20 1x20"
    ),
    "VedetteOverloaded": both(
        {f'vedette_requests_total{{{MODEL},outcome="ok"}}': "0+1000x40"},
        f'vedette_refusals_total{{{POD},replica="r",reason="busy"}}', "0+20x40", "0+5x40",
    ),
}  # fmt: skip

RECORDS: dict[str, Case] = {
    "VedetteRecordsLost": one(f'vedette_audit_records_total{{{POD},outcome="dropped"}}', "0x25 7x10", "7x40"),
    "VedetteRecordsRefused": one(f'vedette_audit_records_total{{{POD},outcome="refused"}}', "0x25 7x10", "7x40"),
    "VedetteRecordsFail": one(f"vedette_audit_failing{{{POD}}}", "0x10 1x30", "0x30 1"),
    "VedetteRecordsLate": one(f"vedette_audit_lag_seconds{{{POD}}}", "0x10 11+1x30", "0x10 9x30"),
    "VedetteRecordsUnsigned": one(f"vedette_audit_signed{{{POD}}}", "1x10 0x30", "1x26 0x10"),
    "VedetteRecordsNotAnchored": one(
        f'vedette_audit_anchor_lag_seconds{{{POD},anchor="s3"}}', "0+60x40", "0+60x15 0x30"
    ),
    "VedetteCheckpointsGivenUp": one(
        f'vedette_audit_anchored_total{{{POD},anchor="s3",outcome="given_up"}}', "0x20 1x20", "1x40"
    ),
    "VedetteActsNotKept": one(f"vedette_operator_governance_log_failing{{{POD}}}", "0x10 1x1500", "0x10 1x4 0x1500", 1505),
}  # fmt: skip

STREAMS: dict[str, Case] = {
    "VedetteStreamBehind": one(f'vedette_stream_lag_seconds{{{POD},topic="events",partition="0"}}', "61x40", "60x40"),
    "VedetteStreamLagGrows": one(
        f'vedette_stream_lag_records{{{POD},topic="events",partition="0"}}', "0+1000x60", "20000-100x60", 55
    ),
    "VedetteStreamPaused": one(f"vedette_stream_paused{{{POD}}}", "0x10 1x30", "0x29 1x5"),
    "VedetteDeadLetters": one(f'vedette_stream_events_total{{{POD},outcome="dead"}}', "0+1x40", "0x20 5x20"),
    "VedetteStreamRestarts": one(f"vedette_stream_restarts_total{{{POD}}}", "0+1x40", "0x20 2x20"),
    "VedetteStreamForgets": one(
        f'vedette_stream_state{{{POD},kind="correlations",what="forgotten"}}', "0+1x40", "7x40"
    ),
    "VedetteWindowsNotPushed": one(
        f'vedette_stream_state{{{POD},kind="windows-1",what="push_failures"}}', "0+1x40", "7x40"
    ),
    "VedetteSinkDown": one(f'vedette_sink_up{{{POD},sink="soar"}}', "1x10 0x30", "1x26 0x10"),
    "VedetteSinkSpoolGrows": Case(
        {f'vedette_sink_oldest_seconds{{{POD},sink="soar"}}': "0+60x40", f'vedette_sink_waiting{{{POD},sink="soar"}}': "0+5x40"},
        {f'vedette_sink_oldest_seconds{{{POD},sink="soar"}}': "0+60x40", f'vedette_sink_waiting{{{POD},sink="soar"}}': "200-5x40"},
    ),
    "VedetteSinkLosesAlerts": one(
        f'vedette_sink_alerts_total{{{POD},sink="soar",outcome="dropped"}}', "0x20 3x20", "3x40"
    ),
    "VedetteSinksHeld": one(f"vedette_sinks_held{{{POD}}}", "0x10 1x30", "0x29 1x5"),
}  # fmt: skip


def _problem(kind: str, fires: str, quiet: str) -> Case:
    return one(f'vedette_rollout_problem{{{NAME},kind="{kind}"}}', fires, quiet)


ROLLOUTS: dict[str, Case] = {
    "VedetteRolloutAborted": Case(
        {f'vedette_rollout_phase{{{NAME},phase="Aborted"}}': "0x10 1x30", f'vedette_rollout_phase{{{NAME},phase="Healthy"}}': "1x40"},
        {f'vedette_rollout_phase{{{NAME},phase="Aborted"}}': "0x40", f'vedette_rollout_phase{{{NAME},phase="Healthy"}}': "1x40"},
    ),
    "VedetteRolloutNeedsApproval": one(f'vedette_rollout_waiting{{{NAME},for="approval"}}', "1x100", "0x60 1x40", 80),
    "VedetteRolloutPaused": one(f'vedette_rollout_waiting{{{NAME},for="inconclusive"}}', "1x100", "0x60 1x40", 80),
    "VedetteRolloutStuck": _problem("overdue", "1x40", "0x40"),
    "VedetteEvidenceMissing": _problem("measured", "1x40", "0x22 1x20"),
    "VedetteDecisionNotActed": _problem("acted", "1x40", "0x26 1x20"),
    "VedetteServiceInvalid": _problem("invalid", "1x40", "0x26 1x20"),
    "VedetteGlassBroken": one(f"vedette_rollout_glass_broken{{{NAME}}}", "1x40", "0x40"),
    "VedetteCandidateUnfair": one(
        f'vedette_rollout_e_value{{{NAME},gate="fairness",against="no_worse"}}', "20x40", "19.9x40"
    ),
    "VedetteOperatorNoLeader": Case(
        {f"vedette_operator_leader{{{POD}}}": "0x40", f'vedette_operator_leader{{{NS},pod="p2"}}': "1x20 0x20"},
        {f"vedette_operator_leader{{{POD}}}": "0x40", f'vedette_operator_leader{{{NS},pod="p2"}}': "1x40"},
    ),
    "VedetteNoticesNotTaken": one(f"vedette_operator_notices_waiting{{{POD}}}", "2x40", "0x20 2x20"),
    "VedetteOperatorBlind": one(f"vedette_operator_watching{{{POD}}}", "0x40", "1x26 0x10"),
    "VedetteOperatorFails": Case(
        {f'vedette_operator_looks_total{{{POD},outcome="{what}"}}': f"0+{n}x40" for what, n in (("done", 80), ("failed", 20))},
        {f'vedette_operator_looks_total{{{POD},outcome="{what}"}}': f"0+{n}x40" for what, n in (("done", 95), ("failed", 5))},
    ),
}  # fmt: skip

_SEGMENT = f'{MODEL},variant="stable",revision="d",unit="live"'


def _segments(alerts: int) -> dict[str, str]:
    return {
        f'vedette_evidence_segment_rows_total{{{_SEGMENT},segment="_all"}}': "0+1000x400",
        f'vedette_evidence_segment_alerts_total{{{_SEGMENT},segment="_all"}}': "0+20x400",
        f'vedette_evidence_segment_rows_total{{{_SEGMENT},segment="site=b"}}': "0+100x400",
        f'vedette_evidence_segment_alerts_total{{{_SEGMENT},segment="site=b"}}': f"0+{alerts}x400",
    }


MODELS: dict[str, Case] = {
    "VedetteModelDrift": Case(
        {'vedette_monitor_open{model="flows",severity="major"}': "0x9 2x50"},
        {'vedette_monitor_open{model="flows",severity="major"}': "0x60", 'vedette_monitor_open{model="flows",severity="minor"}': "3x60"},
    ),
    "VedetteSegmentDrift": one('vedette_monitor_segments_open{model="flows",severity="major"}', "1x40", "0x40"),
    "VedettePerformanceFell": one('vedette_monitor_fallen{model="flows",figure="recall"}', "1x40", "0x40"),
    "VedetteMeaningChanged": one(
        'vedette_monitor_alarms_total{model="flows",kind="concept_drift",severity="minor"}', "0x20 1x20", "1x40"
    ),
    "VedetteSegmentFlagged": Case(_segments(8), _segments(5), at_min=390),
    "VedetteLabelsLate": one('vedette_monitor_newest_label_seconds{model="flows"}', "-1300000x40", "-1200000x40"),
    "VedetteJudgementLate": one('vedette_monitor_judged_seconds{model="flows"}', "-2500000x40", "-2400000x40"),
    "VedetteMonitorStandsStill": one('vedette_monitor_last_look_seconds{model="flows"}', "0+60x20 1200x40", "0+60x60", 40),
    "VedetteMonitorGone": one('vedette_monitor_last_look_seconds{model="flows"}', "0x5 _x40", "0x40"),
    "VedetteAlarmsNotTaken": one('vedette_monitor_undelivered{receiver="webhook"}', "4x40", "0x20 4x20"),
    "VedetteModelNotWatched": Case(
        {'vedette_monitor_watched{model="flows"}': "0x40", 'vedette_monitor_newest_row_seconds{model="flows"}': "9x40"},
        {'vedette_monitor_watched{model="flows"}': "0x40", 'vedette_monitor_newest_row_seconds{model="flows"}': "0x40"},
    ),
}  # fmt: skip

_VERDICTS = f'vedette_verdicts_total{{{MODEL},verdict="alert",operating_point="siem_alerting"}}'
WEEKLY: dict[str, Case] = {
    "VedetteAlertFlood": Case({_VERDICTS: "0+30x336 10080+300x30"}, {_VERDICTS: "0+30x336 10080+75x30"}, at_min=10_260),
}
"""Compared with a week ago."""


def _refused(reason: str, fires: str, quiet: str) -> Case:
    return one(f'vedette_door_refused_total{{{POD},door="http",reason="{reason}"}}', fires, quiet)


def _by_policy(reason: str, fires: str, quiet: str) -> Case:
    return one(f'vedette_access_refused_total{{{POD},replica="r",reason="{reason}",verb="infer"}}', fires, quiet)


_CALLERS: dict[str, Case] = {
    "VedetteCredentialsGuessed": _by_policy("flood", "0x25 7x10", "7x40"),
    "VedetteTenantsCrossed": _by_policy("tenant", "0+1x40", "0x25 2x10"),
    "VedetteTenantLimited": both(
        {f'vedette_access_requests_total{{{POD},replica="r",tenant="blue",verb="infer"}}': "0+1000x40"},
        f'vedette_access_limited_total{{{POD},replica="r",tenant="blue"}}', "0+60x40", "0+40x40",
    ),
    "VedetteTokensNotJudged": _by_policy("keys_away", "0+1x40", "7x40"),
    "VedetteIssuerKeysOld": Case(
        {
            f'vedette_access_keys_age_seconds{{{POD},replica="r",issuer="corp"}}': "3660+60x40",
            f'vedette_access_keys_failures_total{{{POD},replica="r",issuer="corp"}}': "0+6x40",
        },
        {
            f'vedette_access_keys_age_seconds{{{POD},replica="r",issuer="corp"}}': "1740+60x40",
            f'vedette_access_keys_failures_total{{{POD},replica="r",issuer="corp"}}': "0+6x40",
        },
    ),
    "VedetteAccessFileNotTaken": one(f'vedette_access_file_failing{{{POD},replica="r",file="policy"}}', "0x10 1x30", "0x29 1x5"),
}  # fmt: skip
_EXPIRY = f'vedette_tls_certificate_expiry_seconds{{{POD},certificate="server"}}'
SECURITY: dict[str, Case] = _CALLERS | {
    "VedetteStrangersRefused": _refused("unauthenticated", "0+30x40", "0+6x40"),
    "VedetteRubbishRefused": _refused("malformed", "0+120x40", "0+30x40"),
    "VedetteConnectionsRefused": _refused("connections", "0+1x40", "7x40"),
    "VedetteSlowClients": _refused("slow", "0+60x40", "0+12x40"),
    "VedetteCertificateEnds": one(_EXPIRY, "1200000x40", "1210000x40"),
    "VedetteCertificateEnded": one(_EXPIRY, "86000x40", "87000x40"),
    "VedetteCertificateNotTaken": one(f'vedette_tls_reloads_total{{{POD},outcome="refused"}}', "0x20 1x20", "1x40"),
    "VedetteHandshakesFail": one(
        f'vedette_tls_handshakes_total{{{POD},door="http",outcome="client_alert"}}', "0+60x40", "0+12x40"
    ),
}

RUNS: tuple[tuple[str, int, dict[str, Case]], ...] = (
    ("objectives", 2, FAST),
    ("objectives", 30, SLOW),
    ("replicas", 1, REPLICAS),
    ("answers", 1, ANSWERS),
    ("records", 1, RECORDS),
    ("streams", 1, STREAMS),
    ("rollouts", 1, ROLLOUTS),
    ("models", 1, MODELS),
    ("models", 30, WEEKLY),
    ("security", 1, SECURITY),
)
"""Page, minutes from one value to the next, cases."""
