"""A Redis address as Feast writes it; what is wrong with one is said without its password."""

import pytest

from lifecycle.training.feast_store import StoreError, connection_string


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("redi://:hunter2@cache:6379/0", id="another scheme"),
        pytest.param("redis://:hunter2@/0", id="no host"),
        pytest.param("redis://:hunter2@cache:99999/0", id="no such port"),
        pytest.param("redis://vedette:hunter2/x@cache:6379/0", id="a slash in the password"),
        pytest.param("redis://:hunter2,x@cache:6379/0", id="a comma, which Feast would take for the next part"),
    ],
)
def test_a_wrong_address_is_refused_without_its_password(url):
    with pytest.raises(StoreError, match="VEDETTE_REDIS_URL") as refused:
        connection_string(url)
    assert "hunter2" not in str(refused.value)
