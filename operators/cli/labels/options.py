"""What the verbs of `vedette label` share: the log of labels of a store, its prediction log, times."""

import getpass
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from operators.cli.audit.archive_options import archive_if_there, settings_of
from operators.cli.console import CommandError
from operators.cli.times import time_text
from operators.values import parse_duration

if TYPE_CHECKING:
    from lifecycle.labels.desk import LabelDesk
    from lifecycle.labels.events import EventFinder
    from lifecycle.labels.label import Label, LabelOrigin
    from lifecycle.labels.label_log import LabelLog

ModelOption = Annotated[str | None, typer.Option("--model", help="Only this model.")]
Unseen = Annotated[
    bool, typer.Option("--unseen", help="Accept labels of events that have no answer in this store; they must name a model.")
]


def label_log(store_dir: Path | None) -> "LabelLog":
    """The log of labels of the store, signed by its key."""
    from lifecycle.governance.acts import LABELS
    from lifecycle.labels.label_log import LabelLog
    from serving.audit.keys.keyring import Keyring

    settings = settings_of(store_dir)
    folder = settings.store_dir / LABELS
    keyring = Keyring.of(settings.store_dir, settings.audit_key, settings.audit_key_name, folders=[folder])
    return LabelLog(folder, signer=keyring.signer, knows=keyring.knows)


def labels_there(store_dir: Path | None) -> "LabelLog":
    """The same, for verbs that only read. Raises CommandError where nobody gave a label yet."""
    from lifecycle.governance.acts import LABELS
    from lifecycle.labels.label_log import LabelLog

    folder = settings_of(store_dir).store_dir / LABELS
    if not folder.is_dir():
        raise CommandError(f"{folder}: no label was given yet; `vedette label give EVENT --verdict attack` gives one")
    return LabelLog(folder)


def event_finder(
    store_dir: Path | None, archive: str | None, advance: Callable[[int, int], None] = lambda done, of: None
) -> "EventFinder":
    """Finds events in the prediction log of the store and its archive, if there are any."""
    from lifecycle.governance.archive.record_log import RecordLog
    from lifecycle.labels.events import EventFinder

    return EventFinder(RecordLog(settings_of(store_dir).store_dir / "audit", archive_if_there(store_dir, archive)), advance)


def label_desk(
    store_dir: Path | None,
    archive: str | None,
    source: "LabelOrigin",
    *,
    analyst: str | None = None,
    is_unseen_taken: bool = False,
    advance: Callable[[int, int], None] = lambda done, of: None,
) -> "LabelDesk":
    """Where labels are taken in."""
    from lifecycle.labels.desk import LabelDesk

    finder = event_finder(store_dir, archive, advance)
    return LabelDesk(label_log(store_dir), finder, source, analyst=analyst, is_unseen_taken=is_unseen_taken)


def whoever_asks(by: str | None) -> str:
    """The analyst: as named, or the user of this machine."""
    return by or getpass.getuser()


def now_us() -> int:
    """Now, microseconds since the epoch."""
    return time.time_ns() // 1000


def moment_us(text: str | None, now: int) -> int | None:
    """A time, or an age such as `7d`, in microseconds since the epoch. Raises CommandError."""
    if text is None:
        return None
    try:
        if re.fullmatch(r"([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+", text):
            return now - round(parse_duration(text) / timedelta(microseconds=1))
        at = datetime.fromisoformat(text)
        return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)
    except (ValueError, OverflowError, OSError) as problem:
        raise CommandError(f"{text!r} is not a time; write e.g. 7d, 12h or 2026-01-31T08:00 (UTC)") from problem


def shown_time(time_us: int) -> str:
    """A time for people, UTC; the number itself if it is outside the calendar."""
    return time_text(time_us, "%Y-%m-%d %H:%M:%S")


def label_record(label: "Label") -> dict[str, Any]:
    """A label for JSON."""
    return {name: getattr(label, name) for name in label.__struct_fields__}
