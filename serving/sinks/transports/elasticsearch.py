"""Elasticsearch's bulk API: each document has its own answer. A document that is there already (409) was delivered before."""

import base64
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from serving.sinks.alert import SinkAlert
from serving.sinks.errors import FarEndDown, SinkConfigError
from serving.sinks.ports import TAKEN, SendAnswer
from serving.sinks.text import one_line
from serving.sinks.transports.http import HttpAnswer, HttpClient, answer_for_all

BULK: Final = "/_bulk"
_ITEM_AT_FAULT: Final = frozenset({400, 413, 422})


def basic(username: str, password: str) -> str:
    """The header of basic authentication."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


class ElasticsearchTransport:
    """Port SinkTransport. write: the two lines of an alert. authorization: gives the header, or None."""

    def __init__(
        self, client: HttpClient, write: Callable[[SinkAlert], bytes], authorization: Callable[[], str | None] = lambda: None
    ) -> None:
        self._client, self._write, self._authorization = client, write, authorization
        self.label = client.label

    def send(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        """See the port."""
        try:
            authorization = self._authorization()
        except SinkConfigError as problem:
            raise FarEndDown(str(problem)) from problem
        headers = {"content-type": "application/x-ndjson", **({"authorization": authorization} if authorization else {})}
        answer = self._client.run(self._client.post(b"".join(map(self._write, alerts)), headers, path=BULK))
        if answer.status != 200:
            return [answer_for_all(answer)] * len(alerts)
        return _items(answer, len(alerts))

    def close(self) -> None:
        """See the port."""
        self._client.close()


def _items(answer: HttpAnswer, count: int) -> Sequence[SendAnswer]:
    try:
        said = msgspec.json.decode(answer.body)
        items = [next(iter(item.values())) for item in said["items"]]
        statuses = [int(item["status"]) for item in items]
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError, StopIteration):
        return [SendAnswer("later", f"its answer is not that of a bulk request: {answer.words()}")] * count
    if len(items) != count:
        return [SendAnswer("later", f"it answered {len(items)} of {count} documents")] * count
    return [_judged(status, item, answer.after_s) for status, item in zip(statuses, items, strict=True)]


def _judged(status: int, item: Any, after_s: float | None) -> SendAnswer:
    if 200 <= status < 300 or status == 409:
        return TAKEN
    error = item.get("error")
    reason = f"HTTP {status}: " + one_line(str(error.get("reason") if isinstance(error, dict) else error), 300)
    return SendAnswer("refused" if status in _ITEM_AT_FAULT else "later", reason, after_s)
