"""What people are told of rollouts: what stands, once each, signed, until it is taken; again after a restart with the same id."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web

from operators.handlers.metrics import ServiceView
from operators.handlers.notices import MOST_WAITING, NoticeSender, notices_of
from operators.rollout.spec import ApprovalStep, Revision, RolloutSpec, Step
from operators.rollout.status import BreakGlassUse, FinishedRollout, Phase, RolloutStatus
from serving.sinks.forms.standard_webhooks import secret_bytes, verify
from serving.sinks.transports import backoff
from tests.waiting import until_so

NOW = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
KEY = ("soc", "flows")
CANDIDATE = Revision(version="2", bundle="sha256:" + "b" * 64)
STEPS = RolloutSpec(steps=(Step(approval=ApprovalStep()), Step(set_weight=5.0)))


def aborted(ago: timedelta) -> RolloutStatus:
    ended = FinishedRollout(
        candidate=CANDIDATE, stable=None, started=NOW - ago - timedelta(hours=1), ended=NOW - ago, outcome="aborted",
        reason="errors: worse",
    )  # fmt: skip
    return RolloutStatus(phase=Phase.ABORTED, history=(ended,))


def waiting(attempt: str = "a1", **fields) -> RolloutStatus:
    return RolloutStatus(
        phase=Phase.PAUSED, candidate=CANDIDATE, policy=STEPS, attempt=attempt, waiting_for="an approval by lead", **fields
    )


def view(status: RolloutStatus) -> ServiceView:
    return ServiceView(status, 2, 0.0, frozenset())


GLASS = BreakGlassUse(by="ada", at=NOW, why="the site is under attack", revision="d", step=1)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        pytest.param(RolloutStatus(), [], id="nothing is under way"),
        pytest.param(aborted(timedelta(hours=1)), ["aborted"], id="an abort"),
        pytest.param(aborted(timedelta(days=2)), [], id="an abort of the day before yesterday is no news"),
        pytest.param(waiting(), ["needs_approval"], id="an approval step"),
        pytest.param(waiting(is_inconclusive=True), ["inconclusive"], id="an analysis without an end"),
        pytest.param(waiting(is_overdue=True), ["needs_approval", "overdue"], id="no progress either"),
        pytest.param(waiting(paused_by="ada"), [], id="somebody paused it, who knows of it"),
        pytest.param(RolloutStatus(break_glass=(GLASS,)), ["glass_broken"], id="an emergency"),
    ],
)
def test_what_is_told(status, expected):
    assert [n.kind for n in notices_of(KEY, view(status), NOW)] == expected


def test_a_notice_has_the_same_id_whenever_it_is_told_and_another_for_another_rollout():
    first, again = (next(notices_of(KEY, view(waiting()), NOW + timedelta(hours=h))) for h in (0, 5))
    other = next(notices_of(KEY, view(waiting("a2")), NOW))
    elsewhere = next(notices_of(("soc", "logins"), view(waiting()), NOW))
    assert first == again
    assert len({first.id, other.id, elsewhere.id}) == 3


class Receiver:
    """Answers what the script says, then 204."""

    def __init__(self, *script: int) -> None:
        self.script, self.got = list(script), []

    async def __call__(self, request: web.Request) -> web.Response:
        self.got.append(({k.lower(): v for k, v in request.headers.items()}, await request.read()))
        return web.Response(status=self.script.pop(0) if self.script else 204)


async def served(receiver: Receiver):
    app = web.Application()
    app.router.add_post("/hook", receiver)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    return runner, f"http://127.0.0.1:{runner.addresses[0][1]}/hook"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("operators.handlers.notices._BACKOFF", backoff.Backoff(first_s=0.001, most_s=0.001))


async def test_it_is_signed_and_sent_until_it_is_taken_and_then_no_more(quick, tmp_path):
    secret, counts = tmp_path / "secret", []
    secret.write_text("old secret\nnew secret\n", encoding="utf-8")
    receiver = Receiver(503, 500)
    runner, url = await served(receiver)
    async with aiohttp.ClientSession() as session:
        sender = NoticeSender(session, url, secret, counts.append, now=lambda: NOW)
        running = asyncio.create_task(sender.run())
        sender.saw(KEY, view(waiting()))
        sender.saw(KEY, view(waiting()))
        await until_so(lambda: counts == ["failed", "failed", "sent"], lambda: counts)
        sender.saw(KEY, view(waiting()))
        assert sender.waiting == 0, "what was told is not told again"
        running.cancel()
    await runner.cleanup()
    assert len({headers["idempotency-key"] for headers, _ in receiver.got}) == 1
    headers, body = receiver.got[-1]
    for line in ("old secret", "new secret"):
        assert verify(secret_bytes(line), headers, body, int(headers["webhook-timestamp"]))
    assert not verify(b"another", headers, body, int(headers["webhook-timestamp"]))
    told = json.loads(body)
    assert (told["type"], told["namespace"], told["name"]) == ("rollout.needs_approval", "soc", "flows")
    assert told["message"] == "an approval by lead"


async def test_a_receiver_that_is_away_and_a_secret_that_is_gone_lose_nothing(quick, tmp_path):
    counts = []
    async with aiohttp.ClientSession() as session:
        sender = NoticeSender(session, "http://127.0.0.1:1/hook", tmp_path / "absent", counts.append, now=lambda: NOW)
        running = asyncio.create_task(sender.run())
        sender.saw(KEY, view(aborted(timedelta(hours=1))))
        await until_so(lambda: counts.count("failed") > 2, lambda: counts)
        assert sender.waiting == 1
        running.cancel()


async def test_what_finds_no_room_is_postponed_once_and_dropped_only_if_it_ends_untold():
    counts = []
    async with aiohttp.ClientSession() as session:
        sender = NoticeSender(session, "http://127.0.0.1:1/hook", None, counts.append, now=lambda: NOW)
        for n in range(MOST_WAITING + 1):
            sender.saw(("soc", f"s{n}"), view(waiting()))
        last = ("soc", f"s{MOST_WAITING}")
        sender.saw(last, view(waiting()))
        assert (sender.waiting, counts) == (MOST_WAITING, ["postponed"])
        sender.saw(last, view(RolloutStatus()))
        assert counts == ["postponed", "dropped"]
        sender.saw(last, view(waiting("a2")))
        sender._waiting.get_nowait()
        sender.saw(last, view(waiting("a2")))
        assert (sender.waiting, counts) == (MOST_WAITING, ["postponed", "dropped", "postponed"]), "it was taken at a later look"
