"""Who may approve in a cluster, and the log of governed acts that the operator keeps in a folder. Reads and records; decides nothing.

Without a folder no log is kept: a metric says so, and only Kubernetes Events tell people."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from lifecycle.governance.acts import Act
from lifecycle.governance.approvals.desk import ActNotRecorded, ApprovalDesk
from lifecycle.governance.approvals.recorded_state import GovernanceView
from operators.api.service_intent import MADE_BY
from operators.handlers.documents import PendingVerbs, ResourceDocument, annotations, key_of
from operators.handlers.settings import OperatorSettings
from operators.rollout.governance.floor import check_step
from operators.rollout.status import RolloutStatus
from serving.audit.keys.keyring import Keyring

_log = logging.getLogger("vedette.operator")
NOT_RECORDED: Final = "ActNotRecorded"


def approval_desk(settings: OperatorSettings, now_us: Any) -> ApprovalDesk:
    """The people and the log of these settings."""
    key, folder = settings.governance_key, settings.governance_dir
    keys = Keyring(key, folders=[folder] if folder is not None else []) if key is not None else None
    return ApprovalDesk(
        folder,
        settings.people_file,
        signer=keys.signer if keys is not None else lambda: None,
        now_us=now_us,
        check_step=check_step,
    )


class Governance:
    """One for each operator. is_speech_checked: the admission webhook holds every verb to who said it."""

    def __init__(self, desk: ApprovalDesk, *, is_speech_checked: bool) -> None:
        self._desk, self._is_speech_checked = desk, is_speech_checked

    @property
    def is_kept(self) -> bool:
        """Whether a log is kept and can be read."""
        return self._desk.folder is not None and self._desk.problem is None

    @property
    def is_failing(self) -> bool:
        """Whether a log should be kept and cannot be written or read, or the people are not known."""
        return self._desk.failing is not None

    @property
    def problem(self) -> str | None:
        """Why the log or the people cannot be read; None: they can, or there are none."""
        return self._desk.problem

    async def view(self, document: ResourceDocument, bundles: Sequence[str], verbs: PendingVerbs) -> GovernanceView:
        """What a look at this resource should know."""
        made_by = {n.strip(): "made its bundle" for n in annotations(document).get(MADE_BY, "").split(",") if n.strip()}
        checked = [r.id for r in verbs.requests] if self._is_speech_checked else []
        return await asyncio.to_thread(self._desk.view, subject(document), bundles, checked=checked, made_by=made_by)

    async def record(self, acts: Sequence[Act]) -> None:
        """Keep acts before they happen. Raises ActNotRecorded: then they must not."""
        if acts:
            await asyncio.to_thread(self._desk.record, acts)

    async def release(self, document: ResourceDocument, now: datetime) -> None:
        """Record that the resource is deleted. A log that cannot be written does not stop the deletion."""
        why = "the resource was deleted; the served revisions stay, and the rollout ends"
        time_us = round(now.timestamp() * 1_000_000)
        gone = Act(time_us=time_us, actor="operator", action="rollout.release", subject=subject(document), reason=why)
        try:
            await self.record([gone])
        except ActNotRecorded as problem:
            _log.warning("%s", problem)


def subject(document: ResourceDocument) -> str:
    """How the log calls a ModelService."""
    namespace, name = key_of(document)
    return f"modelservice/{namespace}/{name}"


def bundles_of(spec: Mapping[str, Any], status: RolloutStatus) -> list[str]:
    """Digests of the bundles that are asked for or under way."""
    asked = (spec.get("revision") or {}).get("bundle")
    return [b for b in (asked, status.candidate.bundle if status.candidate is not None else None) if b]
