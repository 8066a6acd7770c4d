"""What a program of ours shows to doors that are guarded: a token or an API key, from a file or the environment, never from a command line.

Arguments of a command line are readable by every user of a machine. A file is read for each use, so that a renewed token counts."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

_log = logging.getLogger(__name__)
MOST_BYTES: Final = 64 * 1024


class DoorCredentials(BaseSettings):
    """Credentials of a client of the doors. The first of token, token_file, api_key, api_key_file that is set counts."""

    model_config = SettingsConfigDict(env_prefix="VEDETTE_", frozen=True, use_attribute_docstrings=True, extra="ignore")

    token: SecretStr | None = None
    """Bearer token for guarded doors."""
    token_file: Path | None = None
    """File of it; read again for each use."""
    api_key: SecretStr | None = None
    """API key for guarded doors (`vedette keys create`)."""
    api_key_file: Path | None = None
    """File of it; read again for each use."""

    def headers(self) -> Mapping[str, str]:
        """HTTP headers, or gRPC metadata; empty if nothing is set. Raises OSError for a file that cannot be read."""
        if self.token is not None:
            return {"authorization": f"Bearer {self.token.get_secret_value().strip()}"}
        if self.token_file is not None:
            return {"authorization": f"Bearer {_secret_in(self.token_file)}"}
        if self.api_key is not None:
            return {"x-api-key": self.api_key.get_secret_value().strip()}
        return {} if self.api_key_file is None else {"x-api-key": _secret_in(self.api_key_file)}


class FileToken:
    """A bearer token in a file; None: no token. A file that cannot be read is told, and no token is sent: the door says what it needs."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def headers(self) -> Mapping[str, str]:
        """The header; empty if there is no token."""
        if self._path is None:
            return {}
        try:
            return {"authorization": f"Bearer {_secret_in(self._path)}"}
        except (OSError, ValueError) as problem:
            _log.error("%s: the token for replicas cannot be read: %s", self._path, problem)
            return {}


def _secret_in(path: Path) -> str:
    """Raises OSError, and ValueError for what no header can hold."""
    with path.open(encoding="ascii") as file:
        text = file.read(MOST_BYTES).strip()
    if not text.isprintable() or " " in text:
        raise ValueError("it is not one word")
    return text
