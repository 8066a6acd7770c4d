"""Entity keys as Feast writes them. (That Feast finds them is in the contract tests.)"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.features.plan.definitions import JoinKey
from serving.features.plan.errors import InvalidColumn, RegistryError
from serving.features.plan.keys import decode_key, key_encoder

SITE, ACCOUNT = JoinKey("site", "site", "STRING"), JoinKey("account", "number", "INT64")


def columns(sites, accounts):
    return {"site": np.array(sites, dtype=object), "number": np.array(accounts, dtype=np.int64)}


@given(st.lists(st.tuples(st.text(), st.integers(-(2**63), 2**63 - 1)), min_size=1, max_size=5))
def test_a_key_can_be_read_back_and_the_order_of_the_keys_does_not_matter(pairs):
    asked = columns([site.encode() for site, _ in pairs], [account for _, account in pairs])
    encoded = key_encoder([SITE, ACCOUNT], 3)(asked, len(pairs))
    assert encoded == key_encoder([ACCOUNT, SITE], 3)(asked, len(pairs))
    assert [decode_key(key) for key in encoded] == [{"account": account, "site": site} for site, account in pairs]


def test_different_keys_differ():
    encoded = key_encoder([SITE, ACCOUNT], 3)(columns([b"a", b"a", b"b", b""], [1, 2, 1, 0]), 4)
    assert len(set(encoded)) == 4


def test_a_number_that_does_not_fit_is_the_clients_error():
    with pytest.raises(InvalidColumn, match="INT32"):
        key_encoder([JoinKey("n", "n", "INT32")], 3)({"n": np.array([2**31])}, 1)


@pytest.mark.parametrize(("key", "version"), [(JoinKey("k", "k", "DOUBLE"), 3), (JoinKey("k", "k", "STRING"), 2)])
def test_what_feast_cannot_look_up_is_refused_when_the_plan_is_made(key, version):
    with pytest.raises(RegistryError):
        key_encoder([key], version)
