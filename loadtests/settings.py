"""Settings of a load test, from `VEDETTE_LOAD_*` variables; where to and for how long are Locust's own options."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic_settings import BaseSettings, SettingsConfigDict


class LoadSettings(BaseSettings):
    """What to send, and the objectives for the answers."""

    model_config = SettingsConfigDict(env_prefix="VEDETTE_LOAD_", frozen=True, use_attribute_docstrings=True, extra="ignore")

    model: str = "flows"
    """The model that the requests are for."""
    grpc: str = "127.0.0.1:8081"
    """Address of the gRPC door; the HTTP door is Locust's --host."""
    payloads: Path | None = None
    """Requests or events to send, JSON lines or Parquet; see loadtests.payloads for what is sent if unset."""
    data_dir: Path | None = Field(default=None, validation_alias="VEDETTE_DATA_DIR")
    """Folder of real captures, e.g. `flows/*.parquet`."""
    rows: PositiveInt = 1
    """Rows in one request."""
    wait_s: NonNegativeFloat = 0.0
    """How long a user waits after an answer; 0 sends as fast as answers come."""
    shape: Literal["none", "steps", "spike"] = "none"
    """How the number of users changes over time; `none`: --users decides."""
    p99_ms: PositiveFloat = 250.0
    """Objective: 99 % of the answers of each door come within this."""
    failure_ratio: float = Field(default=0.001, ge=0, le=1)
    """Objective: at most this share of the requests of each door fails."""
    min_requests: PositiveInt = 100
    """Objective: at least so many requests of each door."""
