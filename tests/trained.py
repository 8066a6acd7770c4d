"""A store with the model `flows`, trained on generated rows once in a run: training takes eight seconds of processor time."""

import shutil
import subprocess
import sys
from pathlib import Path

from tests import run_servers


def trained_flows(store: Path) -> Path:
    """A copy of it in this folder, as `vedette train flows` makes it."""
    with run_servers.one_at_a_time("flows") as trained:
        if not trained.exists():
            making = trained.with_suffix(".making")
            command = [sys.executable, "-m", "operators.cli.main", "train", "flows", "--store-dir", str(making)]
            done = subprocess.run(command, capture_output=True, text=True, cwd=trained.parent, check=False)
            assert done.returncode == 0, done.stderr
            making.rename(trained)
    return Path(shutil.copytree(trained, store, dirs_exist_ok=True))
