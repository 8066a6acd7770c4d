"""An act is done by who leads, and over before another may lead."""

import asyncio

import pytest
from pydantic import ValidationError

from operators.handlers.looking.acting import Acting
from operators.handlers.settings import OperatorSettings
from operators.handlers.watching.work_queue import TryLater
from operators.ports import BackendError


async def test_an_act_that_hangs_ends_and_is_tried_again():
    ended = asyncio.Event()

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(BackendError, match="VEDETTE_OPERATOR_ACT_TIMEOUT_S") as refused:
        await Acting(lambda: True, 0.01).do(hang)
    assert refused.value.can_retry
    assert ended.is_set()


async def test_who_does_not_lead_does_not_begin():
    async def act() -> None:
        raise AssertionError("it acted")

    with pytest.raises(TryLater):
        await Acting(lambda: False, 1).do(act)


def test_an_act_must_be_over_before_another_operator_leads():
    with pytest.raises(ValidationError, match=r"act_timeout_s is 5, expected less than 5, .* write e\.g\. 4"):
        OperatorSettings(act_timeout_s=5)
    assert OperatorSettings().act_limit_s == 4
    assert OperatorSettings(lease_duration_s=30, lease_renew_s=20).act_limit_s == 8
    assert OperatorSettings(act_timeout_s=60, leader_election=False).act_limit_s == 60
