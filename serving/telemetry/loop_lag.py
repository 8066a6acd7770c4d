"""How late the listeners' loop is: about the time that a request waits in its socket before it is read.

Requests in the sockets of an overloaded replica are in no gauge of requests under way. They wait about as long as a timer of the loop is
late, so a timer measures that 20 times a second."""

import asyncio
from typing import Final

LOOK_EVERY_S: Final = 0.05
_RESOLUTION_S: Final = 0.001
"""The resolution of the loop's timers; less than this is not lateness."""


class LoopLag:
    """Two counters that only grow: seconds late, and measurements (`looks`). Their growth, divided, is the mean lateness."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.looks = 0
        self.late_s = 0.0
        """How late it has been lately: an exponential mean of the measurements, with a weight of 1/2."""

    async def watch(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOK_EVERY_S
            await asyncio.sleep(LOOK_EVERY_S)
            late_s = max(0.0, loop.time() - due - _RESOLUTION_S)
            self.seconds += late_s
            self.late_s = (self.late_s + late_s) / 2
            self.looks += 1
