"""What is trained on this machine is signed with its key, or people are told what to run."""

from datetime import UTC, datetime

import pytest

from lifecycle.governance.acts import ActsLog
from operators.cli.registry.signing import sign_trained
from operators.labs.simple_model import build_simple
from serving.models.signing.keys import SigningKey
from serving.models.signing.trust import TrustedKeys
from serving.models.store import BundleStore
from serving.settings import ServingSettings


@pytest.fixture
def store(tmp_path):
    return BundleStore(tmp_path / "store")


@pytest.fixture
def bundle(store, tmp_path):
    return store.read(store.add(build_simple(tmp_path / "simple")))


def acts(store):
    return [a.action for a in ActsLog(store.root / "governance", signer=lambda: None, now_us=lambda: 0).read()]


def test_it_is_signed_once_by_the_key_that_the_settings_name_and_that_is_on_record(store, bundle, tmp_path):
    key, trusted = tmp_path / "ada.pem", store.root / "keys" / "bundles"
    SigningKey.create(key)
    trusted.mkdir(parents=True)
    (tmp_path / "ada.pub").rename(trusted / "ada.pub")
    settings = ServingSettings(store_dir=store.root, bundle_key=key, require_signed=True)
    for _ in range(2):
        sign_trained(bundle, settings)
    strict = BundleStore(store.root, TrustedKeys(trusted, lambda: datetime.now(UTC)))
    assert strict.read(bundle.digest).digest == bundle.digest
    assert acts(store) == ["registry.sign"]


def test_without_a_key_people_are_told_what_to_run_where_signatures_are_required(store, bundle, capsys):
    sign_trained(bundle, ServingSettings(store_dir=store.root))
    assert capsys.readouterr().err == ""
    sign_trained(bundle, ServingSettings(store_dir=store.root, require_signed=True))
    said = " ".join(capsys.readouterr().err.split())
    assert "vedette registry sign simple/1 --key KEY" in said
    assert "VEDETTE_BUNDLE_KEY" in said
