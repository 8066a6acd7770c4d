"""One governed act for each file of verdicts, where the prediction log does not keep every answer: who scored what, by which revision,
and the digest that the file has."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from operators.cli.acts import now_us, record_act

if TYPE_CHECKING:
    from serving.batch.job import BatchJob
    from serving.batch.output import UnitDone
    from serving.settings import ServingSettings

ACTION = "batch.score"


def file_acts(settings: "ServingSettings", job: "BatchJob") -> "Callable[[UnitDone], object]":
    """A function that records the act of a committed file, unless the log has it: a job may have been killed before it could."""
    from lifecycle.governance.acts import ActsLog

    log = ActsLog(settings.store_dir / "governance", signer=lambda: None, now_us=now_us)
    known = {(act.subject, act.evidence.get("digest")) for act in log.read() if act.action == ACTION}

    def add(entry: "UnitDone") -> None:
        subject = f"batch/{job.output}/{entry.name}"
        if (subject, entry.digest) in known:
            return
        evidence = {
            "digest": entry.digest,
            "rows": entry.rows,
            "counts": dict(entry.counts),
            "model": entry.model,
            "version": entry.version,
            "revision": entry.revision,
            "input": entry.key,
        }
        record_act(settings, ACTION, subject, "answers are recorded by file", evidence)

    return add
