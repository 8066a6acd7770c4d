"""The processor family: on the same family a model gives the same bits, on another it may differ in the last ones."""

import functools
import platform
from pathlib import Path

_WIDEST_FIRST = ("avx512f", "avx2", "sse4_2", "sve", "asimd")


@functools.cache
def processor_family() -> str:
    """Machine, vendor and widest vector unit, e.g. `x86_64/GenuineIntel/avx512f`; `unknown` where it cannot be read."""
    machine = platform.machine() or "unknown"
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{machine}/{platform.processor() or 'unknown'}/unknown"
    facts = {key.strip().lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = set((facts.get("flags") or facts.get("features") or "").split())
    vector = next((name for name in _WIDEST_FIRST if name in flags), "unknown")
    return f"{machine}/{facts.get('vendor_id') or facts.get('cpu implementer') or 'unknown'}/{vector}"
