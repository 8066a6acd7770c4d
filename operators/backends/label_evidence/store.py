"""Labels of a store of this machine: its log of labels, joined with its prediction log."""

import asyncio
from datetime import datetime
from pathlib import Path

from lifecycle.governance.acts import LABELS, PREDICTIONS
from lifecycle.governance.archive.place import ArchivePlace
from lifecycle.labels.counting import LabelCounter
from lifecycle.labels.label_log import LabelLog
from operators.ports import BackendError, LabelGateCounts, ServiceRef
from operators.rollout.spec import GateName
from serving.audit.signed_note import NoteError


class StoreLabels:
    """Port LabelEvidence on this machine. archive: where archived records are, if anywhere."""

    def __init__(self, store_dir: Path, archive: ArchivePlace | None = None) -> None:
        self._folder = store_dir / LABELS
        self._counter = LabelCounter(LabelLog(self._folder), store_dir / PREDICTIONS, archive)

    async def counts(self, service: ServiceRef, since: datetime) -> LabelGateCounts:
        """Count what was given. Raises BackendError for a log that cannot be read."""
        return await asyncio.to_thread(self._counts, service.model, round(since.timestamp() * 1_000_000))

    def _counts(self, model: str, since_us: int) -> LabelGateCounts:
        try:
            found = self._counter.counts(model, since_us)
        except (OSError, NoteError) as problem:
            raise BackendError(f"{self._folder}: {problem}") from problem
        return {name: {GateName(gate): count for gate, count in of.items()} for name, of in found.of.items()}
