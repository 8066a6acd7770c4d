"""Settings of the interpreter for the doors' loop: garbage collection and the switch interval of threads.

The figures behind the choices are in docs/decisions/0017-own-http.md."""

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.001
"""How long a thread may keep the interpreter while another wants it; Python's own default is 5 ms. A request may wait this long for each
thread that computes (Ray's, the prediction log's, a probe's report)."""


def share_fairly() -> None:
    """Shorten the switch interval, so that the loop gets the interpreter back soon."""
    sys.setswitchinterval(SWITCH_S)


def collect_rarely() -> None:
    """Collect less often, for a process that keeps much and makes little garbage that refers to itself: a stream worker, whose states
    would be walked again and again. Python's own thresholds are 700, 10 and 10."""
    gc.set_threshold(20_000, 20, 20)


def settle() -> None:
    """Collect garbage, then freeze what is left, so that the collector does not walk it again.

    Once after start-up and once after the first models are loaded. Not after each swap of models: a frozen revision that is
    swapped out would never be collected where it refers to itself."""
    gc.collect()
    gc.freeze()
