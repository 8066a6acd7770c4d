"""Secrets of sinks: from a file or a variable of the environment, never in sinks.yaml. A value is read when it is used, so that a rotated
secret is taken without a restart; it is never logged, shown or part of an error."""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from serving.sinks.errors import SinkConfigError

_MOST_BYTES = 64 * 1024


class SecretSource(BaseModel):
    """Where a secret is: `{file: PATH}` or `{env: NAME}`."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    file: Path | None = None
    """File that holds it; line breaks and spaces around it do not count."""
    env: Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Variable of the environment that holds it."""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if (self.file is None) == (self.env is None):
            raise ValueError("a secret has either `file` or `env`")
        return self

    def lines(self) -> list[str]:
        """Its lines, without empty ones; at least one. Raises SinkConfigError."""
        where = f"the variable {self.env}" if self.file is None else str(self.file)
        try:
            text = os.environ.get(self.env or "", "") if self.file is None else self.file.read_bytes()[:_MOST_BYTES].decode()
        except OSError as problem:
            raise SinkConfigError(f"{where}: the secret cannot be read: {problem.strerror}") from problem
        except UnicodeDecodeError:
            raise SinkConfigError(f"{where}: the secret is not text in UTF-8") from None
        found = [line.strip() for line in text.splitlines() if line.strip()]
        if not found:
            raise SinkConfigError(f"{where}: holds no secret")
        return found

    def value(self) -> str:
        """Its only line, printable ASCII. Raises SinkConfigError."""
        found = self.lines()
        if len(found) > 1 or not found[0].isascii() or not found[0].isprintable():
            where = f"the variable {self.env}" if self.file is None else str(self.file)
            raise SinkConfigError(f"{where}: a secret is one line of printable ASCII")
        return found[0]
