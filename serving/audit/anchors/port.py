"""The port of an anchor. Adapters: a folder, any object store that fsspec knows, a Kafka topic."""

import re
from collections.abc import Iterator
from typing import Final, Protocol

_USER: Final = re.compile(r"(?<=://)[^/@]*@")


class AnchorError(Exception):
    """An anchor cannot be reached, refuses, or holds something else under the name. Trying again may help."""


class AnchorUrlError(Exception):
    """An anchor's URL is not understood; the message says what is expected."""


class Anchor(Protocol):
    """A place that keeps checkpoints. It never changes one. `publish` and `newest` return or raise within about 20 seconds."""

    label: str
    """Its URL without password and options, for logs and metrics."""

    def publish(self, note: str) -> None:
        """Keep a checkpoint's note; it is durable there on return. Publishing it again changes nothing.

        Raises AnchorError, NoteError."""

    def newest(self, most: int) -> list[str]:
        """The newest note of each log that published lately, at most `most`, by the time that they say.

        Raises AnchorError."""

    def read(self) -> Iterator[str]:
        """Every note, oldest first for each log. No signature is checked. Raises AnchorError."""

    def close(self) -> None:
        """Let go of connections."""


def without_secrets(url: str) -> str:
    """A URL for people: without user, password and options.

    >>> without_secrets("kafka://soc:secret@host:9092/topic?sasl.password=secret")
    'kafka://host:9092/topic'
    """
    return _USER.sub("", url.partition("?")[0])
