"""Whether a server answers from the rows of features that it keeps."""

import httpx

from serving.telemetry.near_cache_names import NEAR_ROWS
from tests.e2e.running.vedette import Vedette


def near_hits(server: Vedette, model: str, event: bytes) -> float:
    """How many rows it found near so far. The event is asked about a few times before, one after the other: rows are used only while Redis
    has just told its changes."""
    with httpx.Client(base_url=server.http, timeout=30) as client:
        for _ in range(5):
            assert client.post(f"/v2/models/{model}/infer", content=event).is_success
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(NEAR_ROWS.name) and 'outcome="hit"' in line)
