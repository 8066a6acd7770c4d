"""Which outputs a stage made of which inputs, in DVC's form: `runs/AB/KEY/VALUE` in the cache.

The key is of the command, dependencies, parameters and the outputs' paths; the value also of the outputs' digests. So a stage that goes
back to earlier inputs gets its outputs back without running."""

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from lifecycle.pipeline.content.cache import OutputCache
from lifecycle.pipeline.content.lock_file import LockEntry, entry_of
from lifecycle.pipeline.declaration.stages import OutputSpec, StageSpec
from lifecycle.pipeline.declaration.yaml12 import dump_yaml, load_yaml
from lifecycle.pipeline.errors import PipelineFileError
from serving.files.whole_files import write_whole


def remembers(stage: StageSpec) -> bool:
    """Whether the runs of a stage are remembered: those whose inputs and outputs tell everything."""
    is_whole = bool((stage.deps or stage.params) and stage.outs) and not stage.runs_always
    return is_whole and not any(out.is_persistent for out in stage.outs) and not any(map(_is_left_alone, stage.outs))


def _is_left_alone(out: OutputSpec) -> bool:
    """An output of a stage that keeps it somewhere itself. Metrics and plots without a cache are kept for the runs' sake."""
    return out.kind == "outs" and not out.is_cached


class RunCache:
    """The runs that a cache remembers."""

    def __init__(self, cache: OutputCache) -> None:
        self._cache = cache

    def find(self, entry: LockEntry) -> LockEntry | None:
        """The newest run of these inputs whose outputs are all kept; None if there is none. entry: its outputs' digests do not count."""
        folder = self._folder(entry)
        with contextlib.suppress(OSError):
            for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns, reverse=True):
                found = _read(path)
                if found is not None and found.outs and all(self._cache.keeps(digest) for digest in found.outs.values()):
                    return found
        return None

    def remember(self, entry: LockEntry) -> None:
        """Remember a run. Raises OSError."""
        record = entry.as_record()
        path = self._folder(entry) / _digest(record)
        if not path.exists():
            write_whole(path, dump_yaml(record))

    def _folder(self, entry: LockEntry) -> Path:
        record = entry.as_record()
        record["outs"] = [out["path"] for out in record.get("outs", [])]
        key = _digest(record)
        return self._cache.folder / "runs" / key[:2] / key


def _read(path: Path) -> LockEntry | None:
    try:
        return entry_of(load_yaml(path.read_text(encoding="utf-8"), str(path)))
    except (OSError, UnicodeDecodeError, PipelineFileError):
        return None


def _digest(record: Any) -> str:
    return hashlib.sha256(json.dumps(_without_sizes(record), sort_keys=True, default=str).encode()).hexdigest()


def _without_sizes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_sizes(item) for key, item in value.items() if key not in {"size", "nfiles"}}
    return [_without_sizes(item) for item in value] if isinstance(value, list) else value
