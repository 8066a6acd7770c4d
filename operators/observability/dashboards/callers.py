"""Rows of dashboards about callers: what TLS and the access policy refuse, and whether what they judge by is up to date."""

from typing import Final

from operators.observability.alerts.security import CERTIFICATE_DAYS, KEYS_S
from operators.observability.dashboards.panel import Panel, PanelRow, Query
from serving.telemetry import access_names as access
from serving.telemetry import tls_names as tls

_HERE: Final = 'namespace=~"$namespace"'
_OVER: Final = f"sum by (tenant) (rate({access.LIMITED.name}{{{_HERE}}}[5m]))"
_LET_IN: Final = f"sum by (tenant) (rate({access.ADMITTED.name}{{{_HERE}}}[5m]))"

TRUST: Final = PanelRow(
    "TLS and the access policy",
    (
        Panel(
            "Certificates end",
            f"Time until the first of a chain ends. Under {CERTIFICATE_DAYS} days somebody should have renewed it.",
            (Query(f"min by (certificate) ({tls.TLS_EXPIRY.name}{{{_HERE}}})", "{{certificate}}"),),
            unit="s",
            runbook="security.md#vedettecertificateends",
        ),
        Panel(
            "Handshakes that fail",
            "A second, by reason.",
            (
                Query(
                    f'sum by (door, outcome) (rate({tls.TLS_HANDSHAKES.name}{{{_HERE},outcome!="ok"}}[5m]))',
                    "{{door}} {{outcome}}",
                ),
            ),
            unit="ops",
            red_from=0.5,
            runbook="security.md#vedettehandshakesfail",
        ),
        Panel(
            "Files that cannot be used",
            "1 while the file of the policy or of the keys is not taken; new TLS files that were refused, in an hour.",
            (
                Query(f"max by (pod, file) ({access.FAILING.name}{{{_HERE}}})", "{{pod}} {{file}}"),
                Query(f'sum by (pod) (increase({tls.TLS_RELOADS.name}{{{_HERE},outcome="refused"}}[1h]))', "{{pod}} TLS"),
            ),
            red_from=1,
            runbook="security.md#vedetteaccessfilenottaken",
        ),
        Panel(
            "Keys of token issuers",
            "How long ago they were read.",
            (Query(f"max by (issuer) ({access.KEYS_AGE.name}{{{_HERE}}})", "{{issuer}}"),),
            unit="s",
            red_from=KEYS_S,
            runbook="security.md#vedetteissuerkeysold",
        ),
        Panel(
            "Let in",
            "Requests a second by tenant.",
            (Query(_LET_IN, "{{tenant}}"),),
            unit="reqps",
        ),
        Panel(
            "Over the limit",
            "Requests that were refused for each that was let in, by tenant.",
            (Query(f"{_OVER} / ({_LET_IN} > 0)", "{{tenant}}"),),
            unit="percentunit",
            red_from=0.05,
            runbook="security.md#vedettetenantlimited",
        ),
    ),
)
"""For SREs."""

REFUSED: Final = (
    Panel(
        "By the access policy",
        "A second, by reason.",
        (Query(f"sum by (reason) (rate({access.REFUSED.name}{{{_HERE}}}[5m])) > 0", "{{reason}}"),),
        unit="reqps",
        runbook="security.md#vedettecredentialsguessed",
    ),
    Panel(
        "Tenants crossed",
        "Requests in an hour that named what is not their caller's tenant, by verb.",
        (Query(f'sum by (verb) (increase({access.REFUSED.name}{{{_HERE},reason="tenant"}}[1h]))', "{{verb}}"),),
        red_from=1,
        runbook="security.md#vedettetenantscrossed",
    ),
    Panel(
        "Credentials verified",
        "A second, by method and outcome. Remembered ones are not verified again.",
        (Query(f"sum by (method, outcome) (rate({access.VERIFICATIONS.name}{{{_HERE}}}[5m]))", "{{method}} {{outcome}}"),),
        unit="ops",
        runbook="security.md#vedettestrangersrefused",
    ),
)
"""For auditors: panels beside what the doors refuse."""
