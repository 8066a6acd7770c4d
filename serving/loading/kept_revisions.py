"""Every revision that was ever loaded, kept by its digest: `STORE/revisions/<sha256 in hex>.json`, a RevisionSpec.

A record of the prediction log names its revision by digest only. Years later these files say which bundle and which thresholds that
was. A file is written once and never changed: its content follows from its name."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from serving.files.read_back import read_back_json
from serving.spec import RevisionSpec

_log = logging.getLogger("vedette.loading")


def revision_file(store: Path, digest: str) -> Path:
    """Where the revision of this digest is kept."""
    return store / "revisions" / f"{digest.removeprefix('sha256:')}.json"


def keep_revision(store: Path, spec: RevisionSpec) -> None:
    """Keep a revision. A store that cannot be written is logged: serving goes on, and a replay may have to be told the thresholds."""
    path = revision_file(store, spec.digest)
    if path.exists():
        return
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(spec.model_dump_json(indent=1) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as problem:
        _log.warning("revision %s cannot be kept for replays: %s", spec.digest, problem)


def kept_revision(store: Path, digest: str) -> RevisionSpec | None:
    """The revision of this digest; None if it is not kept, or its file says another one."""
    try:
        spec = read_back_json(RevisionSpec, revision_file(store, digest).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return spec if spec.digest == digest else None


def kept_revisions(store: Path) -> Iterator[RevisionSpec]:
    """Every revision that is kept, by digest; a file that says another one than its name is left out."""
    for path in sorted((store / "revisions").glob("[0-9a-f]*.json")):
        spec = kept_revision(store, f"sha256:{path.stem}")
        if spec is not None:
            yield spec
