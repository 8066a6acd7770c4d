"""Finds out whether a log is missing that a store should have. It looks at names only: nothing is read or proved.

Signed checkpoints of one log name the logs of the store's other folders (witness_beside); lifecycle.governance.verify.run judges that
evidence. If all of them are lost, this module looks for files that only a store with a log has. An attacker who removes the logs can remove
those too; then only an anchor outside the store knows of the logs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from lifecycle.governance.acts import LABELS, PREDICTIONS
from lifecycle.governance.acts import LOG as ACTS
from lifecycle.governance.verify.findings import Finding, FindingKind, Place, Report

FOLDERS: Final = (PREDICTIONS, ACTS, LABELS)
"""Folders of a store's logs."""
_SERVED: Final = ("revisions/*", "served*.json")
_GOVERNED: Final = ("control/*", "registry/models/*")


def beside(folder: Path) -> list[Path]:
    """The other log folders of the store; none if `folder` is not a log folder of a store."""
    if folder.name not in FOLDERS:
        return []
    return [other for name in FOLDERS if name != folder.name and (other := folder.parent / name).is_dir()]


def is_off(audit: str, audit_models: Mapping[str, str]) -> bool:
    """Whether no answer is recorded, by the settings of these names.

    >>> is_off("off", {}), is_off("off", {"flows": "async"}), is_off("async", {})
    (True, False, False)
    """
    return audit == "off" and all(mode == "off" for mode in audit_models.values())


def with_missing(reports: Sequence[Report], store: Path, *, is_off: bool) -> list[Report]:
    """The reports on a store's folders, with a finding for each log that should be there and is not. is_off: no prediction log is kept.

    A folder that does not exist, and whose log nothing points to, is left out."""
    found = []
    for given in reports:
        report = given
        why = "" if report.logs else _sign_of(Path(report.folder), store, is_off=is_off)
        if why:
            what = f"{why}, so there was a log in {report.folder}, but none of its files is here"
            report = replace(report, findings=(Finding(FindingKind.LOG_MISSING, Place(""), what), *report.findings))
        if Path(report.folder).is_dir() or report.logs or report.findings:
            found.append(report)
    return found


def _sign_of(folder: Path, store: Path, *, is_off: bool) -> str:
    """What in the store points to a log in this folder, in words; empty if nothing does."""
    if folder == store / PREDICTIONS:
        if _first(store, ["archive/segment-*.parquet"]):
            return "the store's archive has segments"
        served = _first(store, _SERVED)
        return f"this store has served ({served})" if served and not is_off and not folder.is_dir() else ""
    governed = _first(store, _GOVERNED) if folder == store / ACTS else ""
    return (
        f"rollouts or a registry were governed here ({governed}), and every such act is recorded in this log first"
        if governed
        else ""
    )


def _first(store: Path, patterns: Sequence[str]) -> str:
    """The first path that matches a pattern, relative to the store; empty if none does."""
    paths = (path for pattern in patterns for path in store.glob(pattern) if not path.name.startswith("."))
    return next((path.relative_to(store).as_posix() for path in paths), "")
