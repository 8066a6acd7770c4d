"""A connection of each test's own."""

import pytest

from tests.unit.serving.doors.http2.talk import Talk


@pytest.fixture
async def talk():
    return Talk()
