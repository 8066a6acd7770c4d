"""Splunk's HTTP Event Collector: a batch of envelopes in one request, with indexer acknowledgement where the token has it.

Codes: "Troubleshoot HTTP Event Collector", Splunk Enterprise 9. The collector has no idempotency: a batch whose answer was lost is
indexed twice, and a search drops repeats by the indexed field `vedette_id`."""

import asyncio
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from serving.sinks.alert import SinkAlert
from serving.sinks.errors import FarEndDown, SinkConfigError
from serving.sinks.ports import TAKEN, SendAnswer
from serving.sinks.transports.http import HttpAnswer, HttpClient, answer_for_all

EVENTS, ACKS = "/services/collector/event", "/services/collector/ack"
_AT_FAULT: Final = frozenset({5, 6, 12, 13, 15})
"""No data, invalid data format, event field missing or blank, error in handling indexed fields: an event is at fault."""
_ASK_EVERY_S: Final = 0.2


class SplunkTransport:
    """Port SinkTransport. is_acknowledged: wait until the indexers have each batch, for at most `timeout_s`."""

    def __init__(
        self,
        client: HttpClient,
        write: Callable[[SinkAlert], bytes],
        token: Callable[[], str],
        *,
        is_acknowledged: bool = False,
        timeout_s: float = 30.0,
        channel: str | None = None,
    ) -> None:
        self._client, self._write, self._token = client, write, token
        self._is_acknowledged, self._timeout_s = is_acknowledged, timeout_s
        self._channel = channel or str(uuid.uuid4())
        self.label = client.label

    def send(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        """See the port."""
        return self._client.run(self._send(alerts))

    def close(self) -> None:
        """See the port."""
        self._client.close()

    async def _send(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        try:
            headers = {"authorization": f"Splunk {self._token()}", "content-type": "application/json"}
        except SinkConfigError as problem:
            raise FarEndDown(str(problem)) from problem
        if self._is_acknowledged:
            headers["x-splunk-request-channel"] = self._channel
        answer = await self._client.post(b"\n".join(map(self._write, alerts)), headers, path=EVENTS)
        said = _said(answer)
        if answer.status != 200 or said.get("code", 0) != 0:
            return _refused(answer, said, len(alerts))
        if self._is_acknowledged:
            await self._wait_until_indexed(said.get("ackId"), headers)
        return [TAKEN] * len(alerts)

    async def _wait_until_indexed(self, ack: Any, headers: dict[str, str]) -> None:
        """Raises FarEndDown if the indexers do not confirm in time: the batch is sent again, and may be there twice."""
        if not isinstance(ack, int):
            raise FarEndDown(
                f"{self.label}: it gives no ackId; turn on indexer acknowledgement for the token, or set acknowledged: false"
            )
        try:
            async with asyncio.timeout(self._timeout_s):
                while True:
                    asked = msgspec.json.encode({"acks": [ack]})
                    answer = await self._client.post(asked, headers, path=ACKS, query=f"channel={self._channel}")
                    acks = _said(answer).get("acks")
                    if isinstance(acks, dict) and acks.get(str(ack)) is True:
                        return
                    await asyncio.sleep(_ASK_EVERY_S)
        except TimeoutError as problem:
            raise FarEndDown(f"{self.label}: the indexers did not confirm within {self._timeout_s:g} s") from problem


def _said(answer: HttpAnswer) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _refused(answer: HttpAnswer, said: dict[str, Any], count: int) -> Sequence[SendAnswer]:
    code, number = said.get("code"), said.get("invalid-event-number")
    if code in _AT_FAULT:
        if isinstance(number, int) and 0 <= number < count:
            # Whether those before it were indexed is not documented: they are sent again with the rest.
            others = SendAnswer("later", "another event of the request was refused", 0.0)
            return [SendAnswer("refused", answer.words()) if place == number else others for place in range(count)]
        return [SendAnswer("split", answer.words())] * count
    found = answer_for_all(answer)
    if found.what == "split" and answer.status != 413:  # e.g. incorrect index, data channel missing: the sink is set up wrongly
        found = SendAnswer("later", f"{answer.words()}; check token, index and acknowledged of the sink", answer.after_s)
    elif found.what == "taken":  # 200 with a code of failure, or no JSON
        found = SendAnswer("later", answer.words())
    return [found] * count
