"""The real DVC, from an environment of its own (requirements/peers/dvc.txt)."""

import os
import subprocess
from pathlib import Path

import pytest

from loadtests.bench.errors import BenchError
from loadtests.bench.peers import ROOT, VENVS, environment


class Dvc:
    """DVC as it is typed in a folder. It asks no network and keeps what it remembers within `home`."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        try:
            self._programs = environment("dvc", ROOT / VENVS)
        except BenchError as problem:
            last = str(problem).strip().splitlines()[-1].strip()
            pytest.skip(f"no DVC: `python -m loadtests.bench.peers dvc` makes its environment, from a clone ({last:.80})")
        self._environment = {
            **os.environ,
            "HOME": str(home),
            "DVC_SITE_CACHE_DIR": str(home / "site"),
            "DVC_NO_ANALYTICS": "1",
            "SHELL": "/bin/sh",
        }

    def says(self, *words: str) -> str:
        """What a command prints; it must end with 0."""
        done = subprocess.run(
            [str(self._programs / "dvc"), *words],
            cwd=self.folder, env=self._environment, capture_output=True, text=True, encoding="utf-8", check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"dvc {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def values_of_yaml(self, texts: list[str]) -> list[str]:
        """What DVC's YAML makes of scalars: the type and value of each."""
        program = (
            "import sys\nfrom dvc.utils.serialize import loads_yaml\n"
            "for text in sys.argv[1:]:\n    value = loads_yaml('k: ' + text)['k']\n    print(type(value).__name__, repr(value))"
        )
        done = subprocess.run(
            [str(self._programs / "python"), "-c", program, *texts],
            env=self._environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()
