"""How a verb of the command line records a governed act of this machine: before it acts, in the store's log of acts."""

import getpass
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from serving.settings import ServingSettings


def record_act(
    settings: "ServingSettings",
    action: str,
    subject: str,
    reason: str,
    evidence: Mapping[str, Any] | None = None,
    *,
    outcome: str = "accepted",
) -> None:
    """Record that the person at the command line does this, signed by the store's key. Raises OSError, NoteError: then do not act."""
    from lifecycle.governance.acts import Act, ActsLog
    from serving.audit.keys.keyring import Keyring

    keyring = Keyring.of(settings.store_dir, settings.audit_key, settings.audit_key_name)
    act = Act(
        time_us=now_us(),
        actor=getpass.getuser(),
        action=action,
        subject=subject,
        reason=reason,
        evidence=dict(evidence or {}),
        outcome=outcome,
    )
    ActsLog(settings.store_dir / "governance", signer=keyring.signer, now_us=now_us).record(act)


def now_us() -> int:
    """Now, microseconds since the epoch."""
    return time.time_ns() // 1000
