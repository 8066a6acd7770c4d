"""Defaults of features in training are those that a replica answers with: both read the same tags."""

from types import SimpleNamespace

import pytest

from lifecycle.training.feast_store import WrongDefault, defaults_of
from serving.features.plan.errors import RegistryError
from serving.features.plan.feast import _default


def service(tag):
    feature = SimpleNamespace(name="rate", tags={} if tag is None else {"default": tag})
    return SimpleNamespace(feature_view_projections=[SimpleNamespace(name_to_use=lambda: "host", features=[feature])])


@pytest.mark.parametrize("tag", ["0", "-1.5", "1e-3", "true", '"no"', '"2026-01-02"', None])
def test_training_and_replicas_have_the_same_default(tag):
    (default,) = defaults_of(service(tag)).values()
    assert (type(default), default) == (type(served := _default({} if tag is None else {"default": tag}, "rate")), served)


@pytest.mark.parametrize("tag", ["no", "2026-99-99", "!!bool maybe", "[" * 100_000, "9" * 5000, ""])
def test_a_tag_that_is_no_json_is_named_by_both(tag):
    with pytest.raises(WrongDefault, match="feature host__rate: its tag default is"):
        defaults_of(service(tag))
    with pytest.raises(RegistryError):
        _default({"default": tag}, "rate")
