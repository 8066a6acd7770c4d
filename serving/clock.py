"""The real clock (port Clock)."""

import time


class SystemClock:
    """Wall and monotonic time of this machine."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1000

    def monotonic_s(self) -> float:
        """Seconds, never going back."""
        return time.perf_counter()
