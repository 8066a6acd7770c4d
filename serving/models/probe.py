"""Probing: a bundle is loaded and run in a process of its own before any replica may load it.

`python -m serving.models.probe FOLDER DIGEST` prints one line of JSON. A bundle that hangs, crashes or eats memory takes the
probe down, never a replica."""

import json
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.models.bundle import Bundle, check_golden, check_signature, read_bundle
from serving.models.errors import BundleError, ModelError
from serving.models.timing import median_run_us

_LATENCY_RUNS = 50


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe found. latency_us: median of one run on the first golden case, 0 without golden cases."""

    digest: str
    golden_cases: int
    latency_us: float
    memory_mib: float


def probe(bundle: Bundle, *, timeout_s: float = 60.0) -> ProbeReport:
    """Load and run the bundle in a new process. Raises BundleError if it is refused, crashes or takes longer than timeout_s."""
    command = [sys.executable, "-m", "serving.models.probe", str(bundle.folder), bundle.digest]
    try:
        done = subprocess.run(command, capture_output=True, timeout=timeout_s, text=True, check=False)
    except subprocess.TimeoutExpired as problem:
        raise BundleError(
            f"{bundle.folder}: the probe did not end within {timeout_s:g} s; the bundle is not loaded"
        ) from problem
    try:
        answer = json.loads(done.stdout.strip().splitlines()[-1])
    except (IndexError, ValueError) as problem:
        tail = (done.stderr.strip().splitlines() or ["no output"])[-1]
        raise BundleError(
            f"{bundle.folder}: the probe died with status {done.returncode} ({tail}); the bundle is not loaded"
        ) from problem
    if "error" in answer:
        raise BundleError(answer["error"])
    return ProbeReport(**answer)


def examine(folder: Path, digest: str) -> ProbeReport:
    """What the probe's process does. Raises ModelError."""
    from serving.models.onnx import OnnxModel
    from serving.models.rules import rules_of

    bundle = read_bundle(folder, digest)
    model = OnnxModel(bundle.model_path)
    check_signature(bundle.manifest, model)
    cases = check_golden(bundle, model)
    rules_of(bundle)
    return ProbeReport(digest, cases, median_run_us(bundle, model, _LATENCY_RUNS) or 0.0, _peak_mib())


def _peak_mib() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024  # getrusage counts the parent's memory before exec
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _main(arguments: list[str]) -> int:
    folder, digest = arguments
    try:
        print(json.dumps(asdict(examine(Path(folder), digest))))
    except ModelError as problem:
        print(json.dumps({"error": str(problem)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
