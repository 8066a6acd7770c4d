"""How a verb of the command line records a governed act of this machine: before it acts, in the store's log of acts."""

import getpass
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from serving.settings import ServingSettings


_MOST_WORDS: Final = 1500


@contextmanager
def refusals_recorded(settings: "ServingSettings", action: str, subject: str) -> Iterator[None]:
    """A bundle that is refused within leaves a refused act with the reason: who tried to bring what, and when. It is refused all the same,
    also where the log of acts cannot be written; the message says which.

    Raises what was raised: BundleError, UntrustedBundle, Damaged."""
    from lifecycle.governance.registry.errors import Damaged
    from serving.audit.signed_note import NoteError, SigningKeyError
    from serving.models.errors import BundleError

    try:
        yield
    except (BundleError, Damaged) as refused:
        try:
            record_act(settings, action, subject, str(refused)[:_MOST_WORDS], outcome="refused")
        except (OSError, NoteError, SigningKeyError) as problem:
            raise type(refused)(f"{refused}; refused, and it could not be recorded: {problem}") from refused
        raise type(refused)(f"{refused}; refused, recorded in the log of acts") from refused


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
    from serving.store_layout import say_layout

    say_layout(settings.store_dir)
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
