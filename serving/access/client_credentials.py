"""Credentials with which Vedette's programs call guarded doors: a token or an API key, from a file or the environment, never from a
command line.

Arguments of a command line are readable by every user of a machine. A file is read for each use, so that a renewed token counts."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from serving.settings import EnvironmentSettings

_log = logging.getLogger(__name__)
MOST_BYTES: Final = 64 * 1024


class DoorCredentials(EnvironmentSettings):
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
            return {"authorization": f"Bearer {read_secret(self.token_file)}"}
        if self.api_key is not None:
            return {"x-api-key": self.api_key.get_secret_value().strip()}
        return {} if self.api_key_file is None else {"x-api-key": read_secret(self.api_key_file)}


class FileToken:
    """A bearer token in a file; None: no token. A file that cannot be read is logged once, and no token is sent: the door then says what
    it needs.

    The file is read when it has changed, and again at each look while it cannot be read. Used from one thread at a time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stamp: tuple[int, ...] | None = None
        self._headers: Mapping[str, str] = {}
        self._told = ""

    def headers(self) -> Mapping[str, str]:
        """The header; empty if there is no token. It reads from the disk: call it in a thread."""
        if self._path is None:
            return {}
        try:
            found = self._path.stat()
            stamp = (found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode)
            if stamp != self._stamp:
                self._headers, self._stamp = {"authorization": f"Bearer {read_secret(self._path)}"}, stamp
            self._told = ""
        except (OSError, ValueError) as problem:
            self._headers, self._stamp = {}, None
            if self._told != str(problem):
                self._told = str(problem)
                _log.error("%s: the token for replicas cannot be read: %s", self._path, problem)
        return self._headers


def read_secret(path: Path) -> str:
    """The one word of a file. Raises OSError, and ValueError for what no header can hold and for a file that is far too large."""
    with path.open(encoding="ascii") as file:
        text = file.read(MOST_BYTES + 1).strip()
    if len(text) > MOST_BYTES:
        raise ValueError(f"{path} is larger than {MOST_BYTES} bytes; a secret is one word")
    if not text.isprintable() or " " in text:
        raise ValueError(f"{path} is not one word; write the secret into it and nothing else")
    return text
