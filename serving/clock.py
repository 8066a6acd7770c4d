"""The real clock (port Clock)."""

import time


class SystemClock:
    """Wall and monotonic time of this machine."""

    monotonic_s = staticmethod(time.perf_counter)
    """Seconds, never going back; the function itself, because a request asks it five times."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""
        return time.time_ns() // 1000
