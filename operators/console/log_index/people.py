"""Names of entities, as far as they may be read now: an encrypted name is opened with the person's key, if there still is one."""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from operators.console.log_index.indexed_lines import PERSON
from serving.audit.personal.subject_keys import SubjectKeys
from serving.risk.signal import entity_text

ERASED: Final = "erased"
"""What is shown in place of the name of a person whose key is gone."""
_MASKED: Final = 8


class People:
    """Opens names. Made for one request, because the keys belong to one thread. folder: `keys/subjects` of the store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys = SubjectKeys(folder)

    def name(self, entity: str, sealed: Mapping[str, Any] | None, receipt: str) -> str:
        """How to show an entity: its text; ERASED if a value that belongs to it can no longer be read; empty if the record names none."""
        if sealed is None:
            return entity if not entity.startswith(PERSON) else f"person {entity[len(PERSON) :][:_MASKED]}"
        opened: dict[str, str | int] = {}
        for column, value in sealed.items():
            found = self._opened(value, f"{receipt}/{column}".encode()) if _is_sealed(value) else value
            if found is None:
                return ERASED
            opened[column] = found if isinstance(found, int) and not isinstance(found, bool) else str(found)
        return entity_text(opened)

    def texts_of(self, name: str) -> tuple[str, ...]:
        """What the index may have for an entity that somebody names: the name, and the id of the person's key where there is one."""
        if not (self._folder / "hash.key").is_file():  # asking for an id would make the secret
            return (name,)
        subject = self._keys.subject(name.encode("utf-8", "surrogateescape"))
        return (name, PERSON + subject) if self._keys.has(subject) else (name,)

    def _opened(self, value: Mapping[str, Any], about: bytes) -> Any:
        try:
            text = self._keys.decrypt(str(value["subject"]), base64.b64decode(value["encrypted"]), about)
            return None if text is None else json.loads(text)
        except (ValueError, KeyError, TypeError, OSError):
            return None


def _is_sealed(value: object) -> bool:
    return isinstance(value, Mapping) and "encrypted" in value
