"""Bandit over the planes, two processes side by side: `make check` runs it.

Files that passed are remembered by their content (build/bandit.txt), so that a second run takes a second and the first one 20 s of
processor time. The memory ends with another version of bandit or another pyproject.toml."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.house import PLANES, ROOT, files

PASSED: Final = ROOT / "build" / "bandit.txt"
# A `# nosec` on a line of an f-string is tried for each part of the string; bandit speaks of every part that it did not need it for.
_NOISE: Final = "nosec encountered"


def marks(paths: list[Path], rules: bytes) -> dict[Path, str]:
    """Each file's mark: a digest of what it says and of what judges it. rules: the configuration and the version of the tool."""
    return {path: sha256(rules + path.read_bytes()).hexdigest() for path in paths}


def judge(paths: list[Path]) -> tuple[bool, str]:
    """Whether bandit finds nothing in these files, and what it said."""
    if not paths:
        return True, ""
    command = [
        str(Path(sys.executable).with_name("bandit")),
        "-q",
        "-c",
        "pyproject.toml",
        *map(str, paths),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    told = [line for line in done.stderr.splitlines() if _NOISE not in line]
    return done.returncode == 0, "\n".join([done.stdout, *told]).strip()


def main() -> int:
    """Judge what is new; say what was found. Returns the exit status."""
    paths = [path for plane in PLANES for path in files(ROOT / plane)]
    marked = marks(paths, version("bandit").encode() + (ROOT / "pyproject.toml").read_bytes())
    known = set(PASSED.read_text(encoding="ascii").split()) if PASSED.is_file() else set()
    new = [path for path in paths if marked[path] not in known]
    with ThreadPoolExecutor(2) as pool:
        verdicts = list(pool.map(judge, (new[::2], new[1::2])))
    for _, said in verdicts:
        if said:
            print(said)
    if not all(passed for passed, _ in verdicts):
        return 1
    PASSED.parent.mkdir(exist_ok=True)
    PASSED.write_text("\n".join(sorted(marked.values())) + "\n", encoding="ascii")
    print(f"bandit: nothing found in {len(paths)} files ({len(new)} of them new)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
