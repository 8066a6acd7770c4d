"""What a bundle says of its origin: the data, the features, the code and the environment that it was trained with."""

import hashlib
import importlib.metadata
import json
import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any, Final

from lifecycle.datasets.data import Dataset
from serving.models.processor import processor_family
from serving.ports import FeatureServiceInfo

LIBRARIES: Final = ("lightgbm", "numpy", "pandas", "feast", "onnx", "onnxruntime")
"""Libraries whose version can change a trained model."""

_ROOT: Final = Path(__file__).resolve().parents[2]
_TRAINS: Final = ("feature_repo", "lifecycle", "serving")


def describe_data(data: Dataset) -> dict[str, Any]:
    """Rows, attacks, verified rows; whether they were generated; first and last time (microseconds since the epoch); the file that they
    come from, by its bytes; what was set aside."""
    found: dict[str, Any] = {"is_generated": True} if data.is_generated else {}
    found |= {"rows": len(data), "attacks": int(data.attack.sum()), "verified": int(data.verified.sum())}
    if data.at_us is not None and len(data):
        found |= {"first_us": int(data.at_us.min()), "last_us": int(data.at_us.max())}
    if data.quality is not None and data.quality.bad:
        found["set_aside"] = data.quality.as_record()
    return found | describe_file(data)


def describe_file(data: Dataset) -> dict[str, Any]:
    """The file that the rows come from, by its bytes; empty if they come from none."""
    return {} if data.file is None else {"file": {"md5": data.file.md5, "size": data.file.size}}


def describe_service(service: FeatureServiceInfo | None) -> dict[str, Any]:
    """Name, views and the digest of everything that defines the service's features; empty without a service."""
    if service is None:
        return {}
    features = [[f.name, f.datatype, f.view, f.default, f.ttl_s] for f in service.features]
    keys = [[k.name, k.datatype] for k in (*service.join_keys, *service.request_fields)]
    body = json.dumps({"name": service.name, "keys": keys, "features": features}, sort_keys=True, separators=(",", ":"))
    views: dict[str, list[str]] = {}
    for feature in service.features:
        views.setdefault(feature.view, []).append(feature.name)
    digest = f"sha256:{hashlib.sha256(body.encode()).hexdigest()}"
    return {"service": service.name, "digest": digest, "views": views}


def environment() -> dict[str, str]:
    """Python, processor family, and versions of the libraries that training uses."""
    return {"python": platform.python_version(), "processor": processor_family(), **_versions()}


@cache
def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


@cache
def code_commit(root: Path = _ROOT) -> str:
    """The commit of this code; outside of its own checkout `sources:` and the SHA-256 of its Python files.

    An installed package and an image have no commit, and the checkout around an environment is somebody else's."""
    here = root / "lifecycle" / "training" / "origin.py"
    try:
        git = ["git", "-C", str(here.parent)]
        subprocess.run([*git, "ls-files", "--error-unmatch", here.name], capture_output=True, timeout=10, check=True)
        done = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return f"sources:{_sources_digest(root)}"
    return done.stdout.strip()


def _sources_digest(root: Path) -> str:
    """SHA-256 over the digest and the path of each Python file that training runs, in the order of the paths."""
    total = hashlib.sha256()
    for path in sorted(path for package in _TRAINS for path in (root / package).rglob("*.py")):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        total.update(f"{digest}  {path.relative_to(root).as_posix()}\n".encode())
    return total.hexdigest()
