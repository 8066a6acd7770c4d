"""`dvc.lock`, schema 2.0: for each stage the command, digests and parameters that its outputs were made of.

It is written whole, to a new file that takes the place of the old one, so that a reader or a crash finds one or the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lifecycle.pipeline.content.digests import ContentDigest
from lifecycle.pipeline.declaration.stages import Command
from lifecycle.pipeline.declaration.yaml12 import dump_yaml, load_yaml
from lifecycle.pipeline.errors import PipelineFileError
from serving.files.whole_files import write_whole

SCHEMA: Final = "2.0"
_DEFAULT_PARAMS: Final = "params.yaml"


@dataclass(frozen=True, slots=True)
class LockEntry:
    """What one stage was last run with. Paths as dvc.yaml writes them. A digest of another kind than MD5 is left out."""

    command: Command
    deps: Mapping[str, ContentDigest] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    outs: Mapping[str, ContentDigest] = field(default_factory=dict)

    def as_record(self) -> dict[str, Any]:
        """As dvc.lock has it: paths in order, params.yaml before other files of parameters."""
        record: dict[str, Any] = {"cmd": self.command if isinstance(self.command, str) else list(self.command)}
        if self.deps:
            record["deps"] = [_digest_record(path, self.deps[path]) for path in sorted(self.deps)]
        if self.params:
            names = sorted(self.params, key=lambda name: (name != _DEFAULT_PARAMS, name))
            record["params"] = {name: {key: self.params[name][key] for key in sorted(self.params[name])} for name in names}
        if self.outs:
            record["outs"] = [_digest_record(path, self.outs[path]) for path in sorted(self.outs)]
        return record


class LockFile:
    """The entries of a dvc.lock. What is not of this pipeline stays in it as it was."""

    def __init__(self, path: Path, body: Mapping[str, Any]) -> None:
        self.path = path
        self._body: dict[str, Any] = {"schema": SCHEMA, **body}
        self._body["stages"] = dict(self._body.get("stages") or {})

    @classmethod
    def read(cls, path: Path) -> "LockFile":
        """The file; without one there are no entries. Raises PipelineFileError."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return cls(path, {})
        except (OSError, UnicodeDecodeError) as problem:
            raise PipelineFileError(f"{path}: cannot be read: {problem}") from problem
        body = load_yaml(text, str(path)) or {}
        way_out = "mend it, or remove it: then each stage runs again, or comes from the cache"
        if not isinstance(body, dict) or not isinstance(body.get("stages") or {}, dict):
            raise PipelineFileError(f"{path}: expected a mapping with `stages`; {way_out}")
        if body and str(body.get("schema")) != SCHEMA:
            raise PipelineFileError(f"{path}: is of schema {body.get('schema')!r}, understood is {SCHEMA}; {way_out}")
        return cls(path, body)

    def entry(self, stage: str) -> LockEntry | None:
        """What the stage was last run with; None if it never was, or the entry cannot be understood."""
        record = self._body["stages"].get(stage)
        return None if record is None else entry_of(record)

    def put(self, stage: str, entry: LockEntry) -> None:
        """Set the entry of a stage, and write the file. Raises OSError."""
        self._body["stages"][stage] = entry.as_record()
        write_whole(self.path, dump_yaml(self._body))


def entry_of(record: Any) -> LockEntry | None:
    """The entry of a record in DVC's form; None if the record is not in that form."""
    if not isinstance(record, dict) or not isinstance(record.get("cmd"), str | list):
        return None
    command = record["cmd"]
    params = record.get("params") or {}
    if not isinstance(params, dict) or not all(isinstance(values, dict) for values in params.values()):
        return None
    return LockEntry(
        command if isinstance(command, str) else tuple(map(str, command)),
        _digests(record.get("deps")),
        params,
        _digests(record.get("outs")),
    )


def _digest_record(path: str, digest: ContentDigest) -> dict[str, Any]:
    record: dict[str, Any] = {"path": path, "hash": "md5", "md5": digest.md5, "size": digest.size}
    if digest.files is not None:
        record["nfiles"] = digest.files
    if digest.is_executable:
        record["isexec"] = True
    return record


def _digests(records: Any) -> dict[str, ContentDigest]:
    found = {}
    for record in records if isinstance(records, list) else []:
        if isinstance(record, dict) and record.get("hash") == "md5" and isinstance(record.get("md5"), str):
            found[str(record.get("path"))] = ContentDigest(
                record["md5"], int(record.get("size") or 0), record.get("nfiles"), bool(record.get("isexec"))
            )
    return found
