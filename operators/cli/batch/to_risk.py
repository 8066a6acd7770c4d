"""`vedette batch --to-risk`: the risks of windows become signals of the ledger of risks, as soon as a file is committed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from operators.cli.acts import now_us
from operators.cli.console import CommandError

if TYPE_CHECKING:
    from serving.batch.job import BatchJob
    from serving.batch.output import UnitDone
    from serving.settings import ServingSettings


@contextmanager
def to_risk(settings: "ServingSettings", job: "BatchJob") -> "Iterator[Callable[[UnitDone], object]]":
    """A function that adds a committed file's signals; what was added before counts once. Raises CommandError, LedgerDown."""
    from serving.batch.behaviour.risk_scorer import behaviour_of
    from serving.batch.behaviour.risk_signals import signals_of
    from serving.batch.data.files import BatchFolder
    from serving.models.store import open_store
    from serving.risk.opening import open_ledger
    from serving.risk.rules_of_risk import read_rules

    spec = behaviour_of(open_store(settings).read(job.bundle))
    if spec is None:
        raise CommandError(
            f"--to-risk: model {job.model!r} scores events; the risk of an entity is what a behavioural model gives"
        )
    base_rate, output = read_rules(settings.store_dir).of("batch").base_rate, BatchFolder(job.output)
    ledger = open_ledger(settings.store_dir, settings.risk_url)

    def add(entry: "UnitDone") -> None:
        moment = now_us()
        ledger.add(signals_of(output, entry, spec, base_rate, moment), (), moment)

    try:
        yield add
    finally:
        ledger.close()
