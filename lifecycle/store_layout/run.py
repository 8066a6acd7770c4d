"""Carries migrations out so that a crash at any moment loses nothing: the next run goes on where the last one was.

    STORE/migration.json   the journal: from and to which layout, and how many steps are done; there while a migration is under way
    STORE/layout.json      written last

The journal is written before the first step and after each; readers refuse a store that has one (`serving.store_layout`)."""

import fcntl
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from lifecycle.store_layout.migration import MIGRATIONS, Migration
from serving.files.folder_sync import sync_folder
from serving.files.registrations import living
from serving.store_layout import FILE, JOURNAL, StoreLayout, StoreLayoutError, read_layout, replace_file

_LOCK: Final = ".migrating.lock"


class Journal(msgspec.Struct, frozen=True):
    """How far a migration is. done: steps of the one that starts at `source`."""

    source: int
    target: int
    done: int = 0


@dataclass(frozen=True, slots=True)
class MigrationPlan:
    """What is to be done. layout: of the store now. done: steps of the first migration that an earlier run has done."""

    store: Path
    layout: int
    target: int
    migrations: tuple[Migration, ...]
    done: int = 0
    is_unfinished: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether it can be done without asking."""
        return not self.is_unfinished and all(each.is_safe for each in self.migrations)


def plan_of(store: Path, migrations: Sequence[Migration] = MIGRATIONS) -> MigrationPlan:
    """What a store needs. Raises StoreLayoutError: there is none, it is newer, cannot be read, or its journal is of other migrations."""
    if not store.is_dir():
        raise StoreLayoutError(f"{store}: there is no store; --store-dir or VEDETTE_STORE_DIR names its folder")
    newest, layout = len(migrations), read_layout(store)
    if layout > newest:
        raise StoreLayoutError(
            f"{store} has layout {layout}, and this version of Vedette knows layouts up to {newest}; there is no way back: use the "
            "newer version that wrote it, or a backup of the store from before the upgrade"
        )
    journal = _journal(store)
    if journal is None:
        return MigrationPlan(store, layout, newest, tuple(migrations[layout:]))
    if journal.source >= newest or journal.target != journal.source + 1:
        raise StoreLayoutError(
            f"{store}: a migration from layout {journal.source} was begun by another version of Vedette; finish it with that version"
        )
    at = journal.source if layout <= journal.source else layout
    done = journal.done if at == journal.source else 0
    return MigrationPlan(store, layout, newest, tuple(migrations[at:]), done, is_unfinished=True)


def migrate(
    store: Path,
    *,
    version: str,
    migrations: Sequence[Migration] = MIGRATIONS,
    reached: Callable[[str], None] = lambda _: None,
    told: Callable[[str], None] = lambda _: None,
    begun: Callable[[MigrationPlan], None] = lambda _: None,
) -> MigrationPlan:
    """Bring a store to the newest layout; gives the plan that was carried out. begun: told of the plan when nothing stands in its way any
    more and nothing is changed yet; what it raises ends it. told: of each step. reached: of each moment at which a crash would leave
    another state.

    Raises StoreLayoutError (also while replicas of this machine use the store) and OSError; it may be run again."""
    with _alone(store):
        plan = plan_of(store, migrations)
        if not plan.migrations and not plan.is_unfinished:
            return plan
        if not plan.is_safe:
            _check_unused(store)
        begun(plan)
        done = plan.done
        for migration in plan.migrations:
            if migration.steps:
                _note(store, Journal(migration.source, migration.target, done))
                reached("journal begun")
            for place, step in enumerate(migration.steps[done:], done + 1):
                told(step.words())
                step.run(store, reached)
                reached("step done")
                _note(store, Journal(migration.source, migration.target, place))
                reached("step noted")
            write_layout(store, migration.target, version)
            reached("layout written")
            done = 0
        (store / JOURNAL).unlink(missing_ok=True)
        sync_folder(store)
        reached("journal removed")
        return plan


def prepare(store: Path, version: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Before a store is served: one that is new, or where only the number is missing, gets the newest layout.

    Raises StoreLayoutError: what to run first."""
    is_new = not store.exists() or not any(store.iterdir())
    store.mkdir(parents=True, exist_ok=True)
    if is_new:
        write_layout(store, len(migrations), version)
        return
    plan = plan_of(store, migrations)
    if not plan.migrations and not plan.is_unfinished:
        return
    if plan.is_safe:
        migrate(store, version=version, migrations=migrations)
        return
    raise StoreLayoutError(
        f"{store} has layout {plan.layout}, this version serves layout {plan.target}; make a backup, see what would be done with "
        f"`vedette store migrate --dry-run --store-dir {store}`, then run it without --dry-run"
    )


def write_layout(store: Path, layout: int, version: str) -> None:
    """Say which layout a store has."""
    replace_file(store / FILE, msgspec.json.encode(StoreLayout(layout, version)) + b"\n")


def _journal(store: Path) -> Journal | None:
    path = store / JOURNAL
    try:
        return msgspec.json.decode(path.read_bytes(), type=Journal)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, RecursionError, OSError) as problem:
        raise StoreLayoutError(f"{path} cannot be read ({problem}); restore the store from its backup") from problem


def _note(store: Path, journal: Journal) -> None:
    replace_file(store / JOURNAL, msgspec.json.encode(journal) + b"\n")


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Only one process migrates a store. Raises StoreLayoutError if another does."""
    if not store.is_dir():
        raise StoreLayoutError(f"{store}: there is no store; --store-dir or VEDETTE_STORE_DIR names its folder")
    with (store / _LOCK).open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreLayoutError(f"{store}: another process migrates it now; wait until it has ended") from None
        yield


def _check_unused(store: Path) -> None:
    if running := living(store / "replicas", socket.gethostname()):
        pids = ", ".join(str(each.pid) for each in running)
        raise StoreLayoutError(f"{store}: replicas use it (processes {pids}); stop `vedette up`, then migrate")
