"""A store that requires signatures reads what a trusted key signed, and nothing else. Each test is named for the attack it defeats."""

import base64
import hashlib
import json
import os
from datetime import timedelta

import pytest

from operators.labs.simple_model import build_simple
from serving.models import bundle as bundles
from serving.models.build import build_bundle
from serving.models.bundle import files_of
from serving.models.errors import BundleError, UntrustedBundle
from serving.models.signing.keys import BundleKeyError, PublicKey, SigningKey
from serving.models.signing.statement import files_in, pae, read_envelope, sign
from serving.models.signing.trust import KeyConditions
from serving.models.store import BundleStore
from tests.fakes.serving.signed_bundles import NOW, Signers
from tests.unit.serving.models.signing import vectors


@pytest.fixture
def signers(tmp_path):
    signers = Signers(tmp_path / "keys")
    signers.trust("ada")
    return signers


@pytest.fixture
def store(tmp_path, signers):
    return BundleStore(tmp_path / "store", signers.trusted)


@pytest.fixture
def bundle(tmp_path, store):
    bundle = build_simple(tmp_path / "simple")
    store.add(bundle)
    return bundle


@pytest.fixture
def parsed(monkeypatch):
    """Graphs that the parser touched."""
    seen, read = [], bundles.read_graph
    monkeypatch.setattr(bundles, "read_graph", lambda path: (seen.append(path), read(path))[1])
    return seen


def envelope_of(signature):
    return json.loads(signature)["dsseEnvelope"]


def with_envelope(signature, **fields):
    document = json.loads(signature)
    document["dsseEnvelope"] |= fields
    return json.dumps(document).encode()


def raw(signers, bundle, name):
    return envelope_of(signers.signature(bundle, name))["signatures"]


def signed(key, statement):
    """What a key's owner could sign: any payload."""
    payload = json.dumps(statement).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": base64.b64encode(key.sign(pae(payload))).decode()}],
    }
    return json.dumps({"verificationMaterial": {"publicKey": {"hint": key.public.hint}}, "dsseEnvelope": envelope}).encode()


def statement_of(signature):
    return json.loads(base64.b64decode(envelope_of(signature)["payload"]))


def test_what_a_trusted_key_signed_is_read(store, bundle, signers, parsed):
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    assert store.read(bundle.digest).digest == bundle.digest
    assert parsed


def test_a_second_signer_is_enough_where_the_first_is_not_trusted(store, bundle, signers):
    store.add_signature(bundle.digest, signers.signature(bundle, "eve"))
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    assert len(store.signatures_of(bundle.digest)) == 2
    assert store.read(bundle.digest).digest == bundle.digest


def test_signing_again_replaces_the_signature_of_the_same_key(store, bundle, signers):
    for _ in range(2):
        store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    assert len(store.signatures_of(bundle.digest)) == 1


def test_a_signature_in_the_folder_travels_with_it(tmp_path, store, bundle, signers):
    (bundle.folder / "model.sig").write_bytes(signers.signature(bundle, "ada"))
    again = BundleStore(tmp_path / "another", signers.trusted)
    again.add(again.read_at(bundle.folder))
    assert again.read(bundle.digest).digest == bundle.digest
    assert not (again.folder_of(bundle.digest) / "model.sig").exists()


ATTACKS = {
    "a stripped signature": (lambda s, b, o: None, "has no signature"),
    "a foreign key": (lambda s, b, o: s.signature(b, "eve"), "is not trusted"),
    "the signature of another bundle": (lambda s, b, o: s.signature(o, "ada"), "signs another bundle"),
    "a foreign signature under a trusted key's hint": (
        lambda s, b, o: s.signature(b, "eve").replace(s.key("eve").public.hint.encode(), s.key("ada").public.hint.encode()),
        "changed or forged",
    ),
    "a swapped payloadType": (lambda s, b, o: with_envelope(s.signature(b, "ada"), payloadType="text/plain"), "payloadType"),
    "an envelope with two signatures": (
        lambda s, b, o: with_envelope(s.signature(b, "ada"), signatures=[*raw(s, b, "eve"), *raw(s, b, "ada")]),
        "has 2 signatures",
    ),
    "an envelope without a signature": (lambda s, b, o: with_envelope(s.signature(b, "ada"), signatures=[]), "has 0 signatures"),
    "the payload of another bundle under this one's signature": (
        lambda s, b, o: with_envelope(s.signature(b, "ada"), payload=envelope_of(s.signature(o, "ada"))["payload"]),
        "changed or forged",
    ),
    "no JSON": (lambda s, b, o: b"\x00", "is not JSON"),
    "JSON of 100,000 levels": (lambda s, b, o: b"[" * 100_000, "is not JSON"),
    "a signature that is no base64": (lambda s, b, o: with_envelope(s.signature(b, "ada"), signatures=[{"sig": "%%"}]), "not base64"),
    "a certificate in the key's place": (
        lambda s, b, o: s.signature(b, "ada").replace(b'"publicKey"', b'"certificate"'),
        "certificates are not supported",
    ),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_refused_before_the_graph_is_touched(tmp_path, store, bundle, signers, parsed, attack):
    forge, says = ATTACKS[attack]
    other = build_bundle(tmp_path / "other", model=(bundle.folder / "model.onnx").read_bytes(), name="other", version="1")
    parsed.clear()
    body = forge(signers, bundle, other)
    if body is not None:
        folder = store.root / "signatures" / bundle.digest[7:]
        folder.mkdir(parents=True)
        (folder / "forged.sig").write_bytes(body)
    with pytest.raises(UntrustedBundle, match=says):
        store.read(bundle.digest)
    assert parsed == []


def a_signature_deeper_down(folder):
    (folder / "rules").mkdir()
    (folder / "rules" / "model.sig").write_text("1")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda f: (f / "golden.json").write_text("{}"), "the file was changed", id="one file changed"),
        pytest.param(lambda f: (f / "model.onnx").write_bytes(b"evil"), "the file was changed", id="another graph"),
        pytest.param(lambda f: (f / "extra.py").write_text("1"), "does not list", id="an extra file"),
        pytest.param(a_signature_deeper_down, "does not list", id="a signature's name deeper down"),
        pytest.param(lambda f: (f / "golden.json").unlink(), "is missing", id="a missing file"),
        pytest.param(lambda f: (f / "model.sig").symlink_to("/etc/passwd"), "not links", id="a link in the signature's place"),
    ],
)  # fmt: skip
def test_a_signed_bundle_that_was_changed_is_refused_before_the_graph_is_touched(store, bundle, signers, parsed, change, says):
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    parsed.clear()
    change(store.folder_of(bundle.digest))
    with pytest.raises(BundleError, match=says):
        store.read(bundle.digest)
    assert parsed == []


def test_a_bundle_that_lists_a_file_the_signer_never_saw(store, bundle, signers, parsed):
    """The digest is signed, and the list of files beside it is another: a signer's tool that was fooled."""
    files = files_of(bundle.manifest, bundle.digest)
    del files["golden.json"]
    store.add_signature(bundle.digest, sign("simple/1", files, signers.key("ada")))
    parsed.clear()
    with pytest.raises(UntrustedBundle, match="must name exactly the files"):
        store.read(bundle.digest)
    assert parsed == []


@pytest.mark.parametrize("name", ["../bundle.json", "/etc/passwd", "a\\b", "./bundle.json", "a//b", "", "rules/../bundle.json"])
def test_a_statement_with_a_trick_in_a_path(signers, bundle, name):
    statement = statement_of(signers.signature(bundle, "ada"))
    statement["predicate"]["resources"][0]["name"] = name
    with pytest.raises(UntrustedBundle, match="not a path within a bundle"):
        files_in(json.dumps(statement).encode())


def test_a_statement_that_names_a_file_twice(signers, bundle):
    statement = statement_of(signers.signature(bundle, "ada"))
    statement["predicate"]["resources"].append(statement["predicate"]["resources"][0])
    with pytest.raises(UntrustedBundle, match="occurs twice"):
        files_in(json.dumps(statement).encode())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(
            {"predicateType": "https://slsa.dev/provenance/v1"}, "predicateType", id="a statement about something else"
        ),
        pytest.param({"_type": "https://in-toto.io/Statement/v0.1"}, "_type", id="another version of statements"),
        pytest.param({"subject": []}, "not of model signing", id="no subject"),
        pytest.param({"subject": [{"digest": {"sha256": "00"}}]}, "does not match the files", id="a subject of other files"),
        pytest.param({"predicate": {"resources": "x"}}, "not of model signing", id="no resources"),
    ],
)
def test_a_trusted_signer_who_says_something_else(store, bundle, signers, change, says):
    statement = statement_of(signers.signature(bundle, "ada")) | change
    store.add_signature(bundle.digest, signed(signers.key("ada"), statement))
    with pytest.raises(UntrustedBundle, match=says):
        store.read(bundle.digest)


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        pytest.param({"not_after": NOW - timedelta(days=1)}, "ada expired", id="an expired key"),
        pytest.param({"not_before": NOW + timedelta(days=1)}, "ada is not valid before", id="a key of the future"),
        pytest.param({"revoked": NOW, "reason": "laptop stolen"}, r"ada was revoked .*laptop stolen", id="a revoked key"),
        pytest.param({"revoked": NOW + timedelta(days=9)}, "ada was revoked", id="a key that is revoked from next week on"),
    ],
)
def test_a_key_that_is_not_to_be_trusted_now(store, bundle, signers, conditions, says):
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    (signers.trusted_dir / "ada.json").write_text(KeyConditions(**conditions).model_dump_json())
    with pytest.raises(UntrustedBundle, match=says):
        store.read(bundle.digest)


def test_a_key_within_its_time(store, bundle, signers):
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    within = KeyConditions(not_before=NOW - timedelta(days=1), not_after=NOW + timedelta(days=1))
    (signers.trusted_dir / "ada.json").write_text(within.model_dump_json())
    assert store.read(bundle.digest).digest == bundle.digest


@pytest.mark.parametrize("damaged", ["{", '{"revokd": "2026-01-01T00:00:00Z"}', '{"not_after": "2026-01-01"}', "[]"])
def test_conditions_that_cannot_be_read_are_not_taken_as_none(store, bundle, signers, damaged):
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    (signers.trusted_dir / "ada.json").write_text(damaged)
    with pytest.raises(UntrustedBundle, match=r"ada\.pub is not trusted"):
        store.read(bundle.digest)


@pytest.mark.parametrize("body", [b"", b"garbage", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_what_is_no_public_key_is_not_trusted(store, bundle, signers, body):
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    (signers.trusted_dir / "ada.pub").write_bytes(body)
    with pytest.raises(UntrustedBundle, match=r"ada\.pub is not trusted.*no trusted key"):
        store.read(bundle.digest)


def test_a_private_key_among_the_trusted_ones_is_not_trusted(store, bundle, signers):
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    (signers.trusted_dir / "ada.pub").write_bytes((signers.folder / "ada.pem").read_bytes())
    with pytest.raises(UntrustedBundle, match="not a PEM public key"):
        store.read(bundle.digest)


@pytest.mark.parametrize("name", ["ada.pub", "ada.json"])
def test_a_file_of_a_key_that_has_no_end_is_not_trusted_and_not_read_to_its_end(store, bundle, signers, name):
    store.add_signature(bundle.digest, signers.signature(bundle, "ada"))
    (signers.trusted_dir / name).unlink(missing_ok=True)
    (signers.trusted_dir / name).symlink_to("/dev/zero")
    with pytest.raises(UntrustedBundle, match=r"ada\.pub is not trusted: .*it has more than 65536 bytes.*no trusted key"):
        store.read(bundle.digest)


def test_a_signature_that_is_a_link_or_huge_is_not_read(store, bundle, signers, tmp_path):
    good = signers.signature(bundle, "ada")
    (tmp_path / "elsewhere").write_bytes(good)
    folder = store.root / "signatures" / bundle.digest[7:]
    folder.mkdir(parents=True)
    (folder / "link.sig").symlink_to(tmp_path / "elsewhere")
    with (folder / "huge.sig").open("wb") as huge:
        huge.write(good)
        os.ftruncate(huge.fileno(), 17 << 20)
    with pytest.raises(UntrustedBundle, match="has no signature"):
        store.read(bundle.digest)


def test_a_signature_made_by_openssf_model_signing_holds(tmp_path):
    signers = Signers(tmp_path / "keys")
    (signers.trusted_dir / "elsewhere.pub").write_bytes(vectors.PUBLIC)
    digest = f"sha256:{vectors.FILES['bundle.json']}"
    proof = signers.trusted.prove(digest, [("model.sig", vectors.SIGNATURE)])
    assert (proof.signer, proof.files) == ("elsewhere", vectors.FILES)


def test_ours_has_the_form_and_bytes_that_are_known(tmp_path):
    """Ed25519 is deterministic. Changed bytes here mean that signatures made before are of another form."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
    body = sign("flows/1", vectors.FILES, key)
    assert hashlib.sha256(body).hexdigest() == "e2c948625ec86e33b705d0206bfb98a6799a4f1a175e5c2a3e390ed4f7a310e5"
    assert files_in(read_envelope(body).payload) == vectors.FILES


def test_keys_are_private_and_never_overwritten(tmp_path):
    SigningKey.create(tmp_path / "ada.pem")
    assert (tmp_path / "ada.pem").stat().st_mode & 0o777 == 0o600
    before = (tmp_path / "ada.pem").read_bytes()
    with pytest.raises(FileExistsError):
        SigningKey.create(tmp_path / "ada.pem")
    assert (tmp_path / "ada.pem").read_bytes() == before
    assert SigningKey.from_file(tmp_path / "ada.pem").public == PublicKey.parse((tmp_path / "ada.pub").read_bytes(), "ada")


def test_a_key_of_a_kind_that_signs_no_bundles(tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(65537, 1024)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "rsa.pem").write_bytes(pem)
    with pytest.raises(BundleKeyError, match=r"rsa\.pem: is neither"):
        SigningKey.from_file(tmp_path / "rsa.pem")
    with pytest.raises(BundleKeyError, match="cannot be read"):
        SigningKey.from_file(tmp_path / "nobody.pem")
