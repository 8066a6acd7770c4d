"""The settings of the events' format: environment variables `VEDETTE_STREAM_<FIELD>`."""

from pathlib import Path
from typing import Literal

from pydantic import PositiveFloat
from pydantic_settings import BaseSettings, SettingsConfigDict

EventFormat = Literal["json", "avro", "protobuf", "registry"]


class CodecSettings(BaseSettings):
    """How events are encoded, and where their schemas are."""

    model_config = SettingsConfigDict(
        env_prefix="VEDETTE_STREAM_", frozen=True, use_attribute_docstrings=True, extra="ignore", allow_inf_nan=False
    )

    format: EventFormat = "json"
    """Encoding of the events. `json`: a JSON object per record. `avro`, `protobuf`: data of one schema, which `VEDETTE_STREAM_SCHEMA_FILE`
    has. `registry`: each record names its schema in a schema registry, and the schema says which of the three it is."""
    schema_file: Path | None = None
    """`avro`: the schema (.avsc). `protobuf`: a descriptor set (`protoc --include_imports --descriptor_set_out=FILE`). `registry`: an Avro
    schema; records of older and newer Avro schemas are read as this one. Unset: as they were written."""
    message: str = ""
    """`protobuf`: full name of the message, e.g. `site.Flow`."""
    registry_url: str = ""
    """URLs of the schema registry, separated by spaces; they are tried in order. E.g. `https://registry:8081` (Confluent, Karapace,
    Redpanda), `https://registry/apis/ccompat/v7` (Apicurio)."""
    registry_basic_file: Path | None = None
    """File with `USER:PASSWORD` for the registry. The file is read for each question."""
    registry_token_file: Path | None = None
    """File with a bearer token for the registry. The file is read for each question."""
    registry_ca_file: Path | None = None
    """Certificate authorities (PEM) of the registry's certificate. Unset: the system's."""
    registry_certificate_file: Path | None = None
    """Client certificate (PEM) for the registry. Unset: none."""
    registry_key_file: Path | None = None
    """Private key of that certificate. Unset: it is in the same file."""
    registry_timeout_s: PositiveFloat = 5.0
    """Timeout of one question to the registry."""
    registry_plain_json: bool = False
    """Whether a record that names no schema is JSON. Otherwise it goes to the dead letters."""
