import pytest

from tests.fakes.operator.control_place import placed


@pytest.fixture
async def place(tmp_path):
    async with placed(tmp_path) as made:
        yield made
