"""The interpreter under the loop that answers: when it is swept for garbage, and how soon other threads hand it back.

The figures behind the choices are in docs/decisions/0017-own-http.md."""

import gc
import sys
from typing import Final

SWITCH_S: Final = 0.001
"""How long a thread may keep the interpreter while another wants it; Python's own default is 5 ms. So long a request may wait for
each thread of Ray's, of the prediction log or of a probe's report that happens to compute."""


def share_fairly() -> None:
    """Let the loop have the interpreter back soon."""
    sys.setswitchinterval(SWITCH_S)


def settle() -> None:
    """What is there now stays: the collector need not walk it again. Garbage goes first, as it would stay too.

    Once after start-up and once after the first models are loaded. Not after each swap of models: a frozen revision that is
    swapped out would never be collected where it refers to itself."""
    gc.collect()
    gc.freeze()
