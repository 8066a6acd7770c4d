"""Properties of librdkafka of which some are secret: those are read from files, so that no argument, setting or URL has them.

Paths of certificates (`ssl.ca.location`, `ssl.certificate.location`, `ssl.key.location`) are no secrets: librdkafka reads them itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from serving.files.bounded_files import read_bounded

SECRET: Final = frozenset(
    {
        "sasl.password",
        "sasl.oauthbearer.assertion.private.key.passphrase",
        "sasl.oauthbearer.assertion.private.key.pem",
        "sasl.oauthbearer.client.credentials.client.secret",
        "sasl.oauthbearer.client.secret",
        "sasl.oauthbearer.config",
        "ssl.key.password",
        "ssl.key.pem",
        "ssl.keystore.password",
    }
)
"""Properties that are refused where other people can read them, such as in arguments of a process. A test holds that every secret
property of the pinned librdkafka is among them."""
_MOST_BYTES: Final = 64 * 1024


class OptionFileError(Exception):
    """A property's file cannot be read, or holds none; the message has the property and the file, never a value."""


def with_option_files(options: Mapping[str, str], files: Mapping[str, Path]) -> dict[str, str]:
    """The options, and for each name of `files` the text of its file, without line breaks at its end. Raises OptionFileError."""
    return {**options, **{name: _text(name, path) for name, path in files.items()}}


def _text(name: str, path: Path) -> str:
    where = f"Kafka option {name}: {path}"
    try:
        text = read_bounded(path, _MOST_BYTES).decode().rstrip("\r\n")
    except OSError as problem:
        raise OptionFileError(f"{where} cannot be read: {problem.strerror}; mount the Secret there, or name its file") from None
    except UnicodeDecodeError:
        raise OptionFileError(f"{where} is not text in UTF-8; it should hold the value and nothing else") from None
    if not text:
        raise OptionFileError(f"{where} is empty; it should hold the value and nothing else")
    return text
