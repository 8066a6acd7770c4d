"""Probing: a bundle is loaded and run in a process of its own before any replica may load it.

`python -m serving.models.probe FOLDER DIGEST BYTES LIMITS` prints one line of JSON. A bundle that hangs, crashes or eats memory takes the
probe down, never a replica: the probe has a time, and its address space may grow by BYTES only, as it shares its memory with the
replica whose pod it runs in."""

import json
import re
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from serving.models.bundle import Bundle, check_golden, check_signature, check_triage, check_triage_inputs, read_bundle
from serving.models.errors import BundleError, ModelError
from serving.models.limits.bundle_limits import ModelLimits, check_graph_growth, check_runs, check_size
from serving.models.parts.triage import TRIAGE_MODEL
from serving.models.timing import median_run_us

_LATENCY_RUNS = 50
_OUT_OF_MEMORY = re.compile(r"bad_?\s?alloc|allocat|out of memory", re.IGNORECASE)
_MIN_BYTES = 512 << 20
"""What a probe may always take: onnxruntime reserves address space for its threads that it never fills."""


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """What a probe found. latency_us: median of one run on the first golden case, 0 without golden cases."""

    digest: str
    golden_cases: int
    latency_us: float
    memory_mib: float


def probe(
    bundle: Bundle, *, timeout_s: float = 60.0, memory_bytes: int | None = None, limits: ModelLimits | None = None
) -> ProbeReport:
    """Load and run the bundle in a new process. memory_bytes: None for that of the limits, or half of what is free.

    Raises BundleError if it is refused, crashes, takes longer than timeout_s or more than it may."""
    limits = limits or ModelLimits()
    check_size(bundle, limits)
    if memory_bytes is None:
        memory_bytes = limits.memory_bytes or max(free_bytes() // 2, _MIN_BYTES)
    said = json.dumps(asdict(limits))
    command = [sys.executable, "-m", "serving.models.probe", str(bundle.folder), bundle.digest, str(memory_bytes), said]
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
            f"{bundle.folder}: the probe died with status {done.returncode} ({tail}); its limit of memory is {memory_bytes >> 20} MiB; "
            "the bundle is not loaded"
        ) from problem
    if "error" in answer:
        raise BundleError(answer["error"])
    return ProbeReport(**answer)


def examine(folder: Path, digest: str, limits: ModelLimits) -> ProbeReport:
    """What the probe's process does. Raises ModelError."""
    from serving.models.onnx import OnnxModel
    from serving.models.rules_model import rules_of

    bundle = read_bundle(folder, digest)
    check_graph_growth(bundle, limits)
    model = OnnxModel(bundle.model_path)
    check_signature(bundle.manifest, model)
    cases = check_golden(bundle, model)
    check_runs(bundle, model, limits)
    rules_of(bundle)
    if bundle.manifest.triage is not None:
        cheap = OnnxModel(bundle.folder / TRIAGE_MODEL)
        check_triage_inputs(bundle.manifest.inputs, cheap.inputs)
        check_triage(bundle, cheap)
        check_runs(bundle, cheap, limits)
    return ProbeReport(digest, cases, median_run_us(bundle, model, _LATENCY_RUNS) or 0.0, _peak_mib())


def free_bytes(root: Path = Path("/")) -> int:
    """Memory that may still be taken: of the pod or container, if it has a limit, and of the machine. 0 if nobody says.

    Pages that only hold files count as free: the system takes them back, and reading bundles alone fills a pod with them."""
    free = []
    try:
        found = (root / "proc/meminfo").read_text(encoding="ascii").partition("MemAvailable:")[2]
        free.append(int(found.split()[0]) * 1024)
        group = root / "sys/fs/cgroup"
        limit, used = int((group / "memory.max").read_text()), int((group / "memory.current").read_text())
        statistics = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        free.append(limit - used + int(statistics.get("active_file", 0)) + int(statistics.get("inactive_file", 0)))
    except (OSError, IndexError, ValueError):
        pass  # no such limit: `max`, or another system
    return max(min(free, default=0), 0)


def bound_memory(grow_bytes: int) -> None:
    """Let this process's address space grow by so much and no more; what asks for more is refused it, as bad_alloc or MemoryError."""
    try:
        now = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return  # without /proc nobody knows where it stands
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    wanted = now + grow_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _peak_mib() -> float:
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024  # getrusage counts the parent's memory before exec
    except (OSError, IndexError, ValueError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _main(arguments: list[str]) -> int:
    folder, digest, memory_bytes, said = arguments

    bound_memory(int(memory_bytes))
    try:
        print(json.dumps(asdict(examine(Path(folder), digest, ModelLimits(**json.loads(said))))))
    except (ModelError, MemoryError) as problem:
        message = str(problem) or "out of memory"
        if isinstance(problem, MemoryError) or _OUT_OF_MEMORY.search(message):
            limit_mib = int(memory_bytes) >> 20
            message = (
                f"{folder}: the probe needs more memory than its limit of {limit_mib} MiB ({message}); give the pod more memory, or raise "
                "VEDETTE_MODEL_MEMORY_BYTES if it is set"
            )
        print(json.dumps({"error": message}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
