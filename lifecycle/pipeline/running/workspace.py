"""The outputs of a stage in the workspace: taken away before it runs, brought back from the cache.

What is not in the cache is moved aside, not deleted, until the stage has ended well: a failed run costs nobody the last good output."""

import contextlib
import os
import shutil
from pathlib import Path

from lifecycle.pipeline.content.cache import OutputCache
from lifecycle.pipeline.content.digests import ContentDigest
from lifecycle.pipeline.declaration.stages import OutputSpec, StageSpec


class StageWorkspace:
    """The outputs of one stage. aside: where what is not kept elsewhere is moved to."""

    def __init__(self, stage: StageSpec, aside: Path, cache: OutputCache) -> None:
        self._stage, self._aside, self._cache = stage, aside, cache

    @property
    def set_aside(self) -> Path | None:
        """Where outputs of before lie that are nowhere else; None: there are none."""
        return self._aside if self._aside.is_dir() else None

    def clear(self, found: dict[str, ContentDigest | None]) -> None:
        """Take the outputs away before commands run; those that persist stay. Raises OSError."""
        for out in self._stage.outs:
            if not out.is_persistent:
                self.clear_one(out, found.get(out.path.written))
            out.path.at.parent.mkdir(parents=True, exist_ok=True)

    def done(self) -> None:
        """The stage ended well: what it replaced is no longer needed."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def clear_one(self, out: OutputSpec, found: ContentDigest | None) -> None:
        """Take one output away. found: its digest. Raises OSError."""
        path, target = out.path.at, self._aside / str(self._stage.outs.index(out)) / out.path.at.name
        if not os.path.lexists(path):
            return
        if os.path.lexists(target) or (found is not None and self._cache.keeps(found)):
            remove(path)  # kept in the cache; or made by a run that failed, and what was there before that is aside
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that is in it, if it is there. Raises OSError."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
