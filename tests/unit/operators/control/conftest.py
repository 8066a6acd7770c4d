import pytest

from tests.fakes.control_place import placed


@pytest.fixture
async def place(tmp_path):
    async with placed(tmp_path) as made:
        yield made
