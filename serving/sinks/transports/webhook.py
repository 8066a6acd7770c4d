"""A webhook: one signed POST an alert. The alerts of an entity go one after the other; other entities use other lanes meanwhile.

Any 2xx is an acknowledgement. The alert's id is `Idempotency-Key`, and its digest `webhook-id` (which holds no full stop, as Standard
Webhooks asks): the same in each try."""

import asyncio
import time
import zlib
from collections.abc import Callable, Sequence

from serving.sinks.alert import SinkAlert
from serving.sinks.errors import FarEndDown, SinkConfigError
from serving.sinks.forms.signature import sign, webhook_id
from serving.sinks.ports import SendAnswer
from serving.sinks.transports.http import HttpClient, answer_for_all


class WebhookTransport:
    """Port SinkTransport. secrets: gives the keys that sign now. token: gives a bearer token, or None."""

    def __init__(
        self,
        client: HttpClient,
        write: Callable[[SinkAlert], bytes],
        secrets: Callable[[], Sequence[bytes]],
        token: Callable[[], str | None] = lambda: None,
        *,
        lanes: int = 1,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._write, self._secrets, self._token = client, write, secrets, token
        self._lanes, self._now_s = lanes, now_s
        self.label = client.label

    def send(self, alerts: Sequence[SinkAlert]) -> Sequence[SendAnswer]:
        """See the port."""
        try:
            secrets, token = self._secrets(), self._token()
        except SinkConfigError as problem:
            raise FarEndDown(str(problem)) from problem
        answers: list[SendAnswer] = [SendAnswer("later", "an alert before it is not taken yet")] * len(alerts)
        lanes: list[list[int]] = [[] for _ in range(self._lanes)]
        for place, alert in enumerate(alerts):
            lanes[zlib.crc32(alert.entity.encode("utf-8", "replace")) % self._lanes].append(place)

        async def go(places: Sequence[int]) -> None:
            for place in places:
                answers[place] = await self._post(alerts[place], secrets, token)
                if answers[place].what == "later":
                    return

        async def go_all() -> None:
            await asyncio.gather(*(go(places) for places in lanes if places))

        self._client.run(go_all())
        return answers

    def close(self) -> None:
        """See the port."""
        self._client.close()

    async def _post(self, alert: SinkAlert, secrets: Sequence[bytes], token: str | None) -> SendAnswer:
        body = self._write(alert)
        headers = {
            "content-type": "application/json",
            "idempotency-key": alert.id,
            **sign(secrets, webhook_id(alert), int(self._now_s()), body),
        }
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        try:
            answer = answer_for_all(await self._client.post(body, headers))
        except FarEndDown as problem:
            return SendAnswer("later", str(problem).removeprefix(f"{self.label}: "))
        return SendAnswer("refused", answer.reason) if answer.what == "split" else answer
