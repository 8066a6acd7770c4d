"""What may be done to a model's bundles, and how people name them."""

import pytest

from lifecycle.governance.registry.errors import NoSuchBundle, Refused, RegistryError
from lifecycle.governance.registry.history import HistoryEntry, ModelHistory, changes
from lifecycle.governance.registry.references import BundleReference, parse_reference

DIGEST = f"sha256:{'a' * 64}"


def entry(action, **fields):
    return HistoryEntry(time_us=1, actor="ada", action=action, digest=DIGEST, reason="x", **fields)


@pytest.fixture
def history():
    return ModelHistory("flows").with_entry(entry("push", version="1"), b"1")


@pytest.mark.parametrize(
    "alias", ["production", "staging", "none", "latest", "Upper", "9", "a b", "", "../x", "a" * 64, "ünder"]
)
def test_an_alias_that_could_be_taken_for_something_else(history, alias):
    with pytest.raises(Refused, match="is not an alias"):
        changes(history, entry("alias", alias=alias))


@pytest.mark.parametrize(
    ("wanted", "is_change"),
    [
        pytest.param(entry("push", version="1"), False, id="the same push"),
        pytest.param(entry("stage", stage="none"), False, id="the stage it is in"),
        pytest.param(entry("stage", stage="staging"), True, id="another stage"),
        pytest.param(entry("alias", alias="blue"), True, id="a new alias"),
        pytest.param(entry("unalias", alias="blue"), False, id="an alias it does not have"),
        pytest.param(entry("remove"), True, id="removing what nobody uses"),
    ],
)
def test_what_changes_something(history, wanted, is_change):
    assert changes(history, wanted) is is_change


def test_nothing_is_done_to_what_is_not_there(history):
    with pytest.raises(NoSuchBundle):
        changes(ModelHistory("flows"), entry("stage", stage="production"))


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (DIGEST, BundleReference("", "digest", DIGEST)),
        ("flows", BundleReference("flows", "newest")),
        ("flows/3", BundleReference("flows", "version", "3")),
        ("nsl-kdd.v2@production", BundleReference("nsl-kdd.v2", "stage", "production")),
        ("flows:night-shift", BundleReference("flows", "alias", "night-shift")),
    ],
)
def test_references(text, kind):
    assert parse_reference(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:abc",
        DIGEST.upper(),
        f"{DIGEST}0",
        "flows@archived",
        "flows@none",
        "flows@x",
        "a/b/c",
        "../x",
        "flows:",
        "a\n",
    ],
)
def test_what_is_no_reference(text):
    with pytest.raises(RegistryError):
        parse_reference(text)
