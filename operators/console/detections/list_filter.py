"""What somebody asks of the list of alerts: the fields of an address to a filter, and back. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlencode

from operators.console.log_index.alert_queries import AlertFilter, AlertKey
from operators.console.log_index.indexed_lines import VERDICTS_SHOWN
from operators.console.log_index.moments import moment_us

ANY: Final = "any"
_MOST_TEXT: Final = 600

_USUAL: Final = AlertFilter()


@dataclass(frozen=True, slots=True)
class AskedAlerts:
    """The fields as they were sent. problems: what is wrong with them, in words; such a field is passed over."""

    model: str = ""
    verdict: str = "alert"
    entity: str = ""
    since: str = ""
    until: str = ""
    is_unlabelled: bool = False
    behind: AlertKey | None = None
    before: AlertKey | None = None
    filter: AlertFilter = _USUAL
    problems: tuple[str, ...] = ()

    def query(self, **changed: str) -> str:
        """The fields for an address, with some of them changed; empty ones are left out."""
        fields = {
            "model": self.model,
            "verdict": "" if self.verdict == "alert" else self.verdict,
            "entity": self.entity,
            "since": self.since,
            "until": self.until,
            "unlabelled": "1" if self.is_unlabelled else "",
        }
        return urlencode({name: value for name, value in (fields | changed).items() if value})

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but the usual is asked for."""
        return bool(self.query())


def asked_of(query: Mapping[str, str], now: datetime, texts_of: Callable[[str], tuple[str, ...]]) -> AskedAlerts:
    """Read the fields. texts_of: what an entity's name is looked up by."""
    problems: list[str] = []
    verdict = query.get("verdict", "alert") or "alert"
    if verdict not in (*VERDICTS_SHOWN, ANY):
        problems.append(f"The verdict {verdict[:40]!r} is not one of {', '.join(VERDICTS_SHOWN)}.")
        verdict = "alert"
    texts = {name: query.get(name, "").strip()[:_MOST_TEXT] for name in ("model", "entity", "since", "until")}
    since_us = moment_us(texts["since"], now, problems)
    until_us = moment_us(texts["until"], now, problems)
    is_unlabelled = query.get("unlabelled") == "1"
    return AskedAlerts(
        **texts,
        verdict=verdict,
        is_unlabelled=is_unlabelled,
        behind=_key(query.get("behind", ""), problems),
        before=_key(query.get("before", ""), problems),
        filter=AlertFilter(
            model=texts["model"],
            verdict="" if verdict == ANY else verdict,
            entities=texts_of(texts["entity"]) if texts["entity"] else None,
            since_us=since_us,
            until_us=until_us,
            is_unlabelled=is_unlabelled,
        ),
        problems=tuple(problems),
    )


def _key(text: str, problems: list[str]) -> AlertKey | None:
    if not text:
        return None
    try:
        return AlertKey.decode(text)
    except ValueError:
        problems.append("The address does not name a place in the list, so this is its beginning.")
        return None
