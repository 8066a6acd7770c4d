"""How late the listeners' loop is: what a request waits before anything here knows of it.

A replica that has more to do than it can leaves requests in their sockets, where no gauge of requests under way sees them. They wait
about as long as a timer comes late, so the loop looks at its own clock a few times a second and sums up by how much it was late."""

import asyncio
from typing import Final

LOOK_EVERY_S: Final = 0.05
_RESOLUTION_S: Final = 0.001
"""The loop's timers are milliseconds; what is below is not lateness."""


class LoopLag:
    """Two counters that only grow: seconds late, and looks. Their growth, divided, is the mean lateness."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.looks = 0
        self.late_s = 0.0
        """How late it is these days: the mean of the last looks, each weighing half of the one after it."""

    async def watch(self) -> None:
        """Look until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            late_s = max(0.0, loop.time() - due - _RESOLUTION_S)
            self.seconds += late_s
            self.late_s = (self.late_s + late_s) / 2
            self.looks += 1
