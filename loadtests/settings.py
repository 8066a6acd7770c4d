"""Settings of a load test, from `VEDETTE_LOAD_*` variables; where to and for how long are Locust's own options."""

from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class LoadSettings(BaseSettings):
    """What to send, and the objectives for the answers."""

    model_config = SettingsConfigDict(env_prefix="VEDETTE_LOAD_", frozen=True, use_attribute_docstrings=True, extra="ignore")

    model: str = "flows"
    """The model that the requests are for; or several with commas between them: each user asks one, in turn. Events are for the first."""
    grpc: str = "127.0.0.1:8081"
    """Address of the gRPC door; the HTTP door is Locust's --host."""
    payloads: Path | None = None
    """Requests or events to send, JSON lines or Parquet; see loadtests.payloads for what is sent if unset."""
    data_dir: Path | None = Field(default=None, validation_alias="VEDETTE_DATA_DIR")
    """Folder of real captures, e.g. `flows/*.parquet`."""
    rows: PositiveInt = 1
    """Rows in one request."""
    events: PositiveInt = 5
    """Events that a Kafka user produces at once, before it waits."""
    verdict_s: PositiveFloat = 30.0
    """An event that has no verdict after this counts as failed."""
    wait_s: NonNegativeFloat = 0.0
    """How long a user waits after an answer; 0 sends as fast as answers come. A Kafka user waits for at least 0.1 s."""
    shape: Literal["none", "steps", "spike", "soak", "diurnal"] = "none"
    """How the number of users changes over time; `none`: --users decides."""
    users: PositiveInt | None = None
    """Users at the peak of the shape. Unset: the shape's own number."""
    seconds: PositiveFloat | None = None
    """Length of the shape. Unset: the shape's own length."""
    objectives: Path | None = None
    """The objectives of each shape and kind of user, YAML. Unset: those in `loadtests/objectives.yaml`."""
    p99_ms: PositiveFloat | None = None
    """In place of every `p99_ms` of the objectives: 99 % of the answers come within this."""
    failure_ratio: float | None = Field(default=None, ge=0, le=1)
    """In place of every `failure_ratio` of the objectives: at most this share of the requests fails."""
    min_requests: PositiveInt | None = None
    """In place of every `min_requests` of the objectives: with fewer requests of a kind, nothing is judged."""
    ca: Path | None = None
    """Certificate authorities (PEM) of the doors' certificates, for https. Unset: the system's."""
    cert: Path | None = None
    """Client certificate (PEM) for doors that ask for one."""
    key: Path | None = None
    """Private key of that certificate."""
    findings: Path | None = None
    """File to write the findings to, as JSON."""

    @field_validator("model")
    @classmethod
    def _names_one(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        if not all(names) or len(set(names)) < len(names):
            raise ValueError(f"is {value!r}; expected a model, or several with commas between them, each once")
        return ",".join(names)

    @property
    def models(self) -> tuple[str, ...]:
        """The names in `model`."""
        return tuple(self.model.split(","))
