"""A Python with packages that do not fit into this environment: one of requirements/peers, made beforehand."""

import hashlib
import platform
from pathlib import Path

import pytest

from loadtests.bench.peers import ROOT, VENVS


def peer_python(name: str) -> Path:
    """The interpreter of a peer's environment. Skips the test where it is not made: it takes minutes and hundreds of megabytes."""
    requirements, folder = ROOT / "requirements" / "peers" / f"{name}.txt", ROOT / VENVS / name
    digest = hashlib.sha256(requirements.read_bytes() + platform.python_version().encode()).hexdigest()
    sign = folder / ".ready"
    if not sign.is_file() or sign.read_text(encoding="utf-8") != digest:
        pytest.skip(f"no {name}: `python -m loadtests.bench.peers {name}` makes its environment, from a clone")
    return (folder / "bin" / "python").absolute()
