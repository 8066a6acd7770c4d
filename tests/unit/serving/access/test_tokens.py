"""Tokens, as an attacker would send them. Each id is an attack or a mistake, and the word that it is refused with."""

import base64
import json
import ssl
from dataclasses import replace

import jwt
import pytest

from serving.access.authentication.key_sets import trust_of
from serving.access.authentication.tokens import (
    MOST_BYTES,
    TokenRefused,
    key_for,
    name_in,
    read_head,
    read_key_set,
    verified_claims,
)
from serving.access.policy import TokenIssuer
from tests.fakes.serving.authority import Authority
from tests.fakes.serving.guarded.token_issuer import AUDIENCE, ISSUER, claims, key_set, private_key, public_jwk, token, unsigned

NOW = 1_800_000_000.0
RULES = TokenIssuer("corp", ISSUER, (AUDIENCE,), frozenset({"RS256", "ES256", "EdDSA"}), (), leeway_s=30.0)
KEYS = read_key_set(key_set(("RS256", "one"), ("ES256", "two"), ("EdDSA", "three")))


def judged(text, now_s=NOW, rules=RULES, keys=KEYS):
    head = read_head(text)
    assert head.issuer == rules.issuer
    found, until_s = verified_claims(text, key_for(head, rules, keys), rules, now_s)
    return name_in(found, rules), until_s


@pytest.mark.parametrize(("kind", "kid"), [("RS256", "one"), ("ES256", "two"), ("EdDSA", "three")])
def test_a_good_token_says_who_asks_and_until_when(kind, kid):
    assert judged(token(NOW, kind=kind, kid=kid)) == ("token:corp:soar", NOW + 630)


def test_a_token_without_a_key_id_is_judged_by_the_only_key_of_its_algorithm():
    assert judged(token(NOW, kid=None))[0] == "token:corp:soar"


def test_a_token_for_several_audiences_counts_for_ours():
    assert judged(token(NOW, aud=["other", AUDIENCE]))[0] == "token:corp:soar"


def forged_part(part):
    head, body, signature = token(NOW).split(b".")
    other = base64.urlsafe_b64encode(json.dumps(claims(NOW, sub="admin")).encode()).rstrip(b"=")
    return b".".join({"payload": (head, other, signature), "signature": (head, body, signature[:-6] + b"AAAAAA")}[part])


def with_public_key_as_secret():
    """RFC 8725, section 2.1: HS256 with the issuer's public key as the secret."""
    from cryptography.hazmat.primitives import serialization

    public = private_key("RS256").public_key()
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    head = {"alg": "HS256", "kid": "one", "typ": "JWT"}
    signed = unsigned(head, claims(NOW)).rpartition(b".")[0]
    import hashlib
    import hmac

    return signed + b"." + base64.urlsafe_b64encode(hmac.new(pem, signed, hashlib.sha256).digest()).rstrip(b"=")


def with_own_key(header_of):
    return token(NOW, number=9, kid="nine", header=header_of(public_jwk("RS256", "nine", 9)))


HOSTILE = {
    "no algorithm": (lambda: unsigned({"alg": "none", "kid": "one"}, claims(NOW)), "algorithm"),
    "no algorithm, written otherwise": (lambda: unsigned({"alg": "nOnE", "kid": "one"}, claims(NOW)), "algorithm"),
    "the public key used as a secret": (with_public_key_as_secret, "algorithm"),
    "an algorithm of the same family that is not allowed": (
        lambda: jwt.encode(claims(NOW), private_key("RS256"), algorithm="PS256", headers={"kid": "one"}).encode(),
        "algorithm",
    ),
    "the algorithm of another key": (lambda: token(NOW, kind="ES256", kid="one"), "algorithm"),
    "another payload under the signature": (lambda: forged_part("payload"), "signature"),
    "a changed signature": (lambda: forged_part("signature"), "signature"),
    "no signature": (lambda: token(NOW).rpartition(b".")[0] + b".", "signature"),
    "a key of somebody else with a known key id": (lambda: token(NOW, number=9, kid="one"), "signature"),
    "a key that the token brings itself": (lambda: with_own_key(lambda jwk: {"jwk": jwk}), "unknown_key"),
    "a key that the token says where to fetch": (lambda: with_own_key(lambda _: {"jku": "http://127.0.0.1:1/k"}), "unknown_key"),
    "a certificate that the token brings itself": (lambda: with_own_key(lambda _: {"x5c": ["MIIB"]}), "unknown_key"),
    "a path as key id": (lambda: token(NOW, kid="../../../../dev/null"), "unknown_key"),
    "a URL as key id": (lambda: token(NOW, kid="http://127.0.0.1:1/keys"), "unknown_key"),
    "SQL as key id": (lambda: token(NOW, kid="x' UNION SELECT 'k"), "unknown_key"),
    "a key id that is no text": (lambda: unsigned({"alg": "RS256", "kid": ["one"]}, claims(NOW), b"x"), "malformed"),
    "a critical header": (lambda: token(NOW, header={"crit": ["exp"], "exp": 1}), "malformed"),
    "a payload that is not encoded": (lambda: unsigned({"alg": "RS256", "kid": "one", "b64": False}, claims(NOW), b"x"), "malformed"),
    "a payload that says it is encoded": (lambda: unsigned({"alg": "RS256", "b64": True}, claims(NOW), b"x"), "algorithm"),
    "expired": (lambda: token(NOW - 700), "expired"),
    "not valid yet": (lambda: token(NOW, nbf=int(NOW) + 31), "not_yet"),
    "issued in the future": (lambda: token(NOW, iat=int(NOW) + 31), "not_yet"),
    "no end": (lambda: token(NOW, exp=None), "claims"),
    "an end that is no number": (lambda: unsigned_exp("soon"), "claims"),
    "an end beyond all numbers": (lambda: unsigned_exp(float("inf")), "claims"),
    "an end that is true": (lambda: unsigned_exp(True), "claims"),
    "another audience": (lambda: token(NOW, aud="billing"), "audience"),
    "no audience": (lambda: token(NOW, aud=None), "audience"),
    "an audience that only begins like ours": (lambda: token(NOW, aud="vedette-staging"), "audience"),
    "no subject": (lambda: token(NOW, sub=None), "claims"),
    "an empty subject": (lambda: token(NOW, sub=""), "claims"),
    "a subject with a line break for the log": (lambda: token(NOW, sub="soar\nverb=repository"), "claims"),
    "a subject that is no text": (lambda: unsigned_exp(int(NOW) + 600, sub=7), "claims"),
    "encrypted (five parts)": (lambda: b"a.b.c.d.e", "malformed"),
    "no token at all": (lambda: b"password", "malformed"),
    "parts that are no base64": (lambda: b"\xff\xfe.\xff.\xff", "malformed"),
    "parts that are no JSON": (lambda: b"AAAA.AAAA.AAAA", "malformed"),
    "a payload nested without end": (lambda: nested(), "malformed"),
    "a payload that is a list": (lambda: unsigned({"alg": "RS256"}, [1], b"x"), "malformed"),
    "larger than any token": (lambda: token(NOW, groups=["g" * 100] * 100), "too_large"),
}  # fmt: skip


def unsigned_exp(value, **more):
    """Signed, with a claim that PyJWT would not write."""
    from jwt.algorithms import RSAAlgorithm

    signed = unsigned({"alg": "RS256", "kid": "one"}, claims(NOW, exp=value, **more)).rpartition(b".")[0]
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed, private_key("RS256"))
    return signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")


def nested():
    body = base64.urlsafe_b64encode(b"[" * 2900 + b"]" * 2900).rstrip(b"=")
    return unsigned({"alg": "RS256", "kid": "one"}, {}).split(b".")[0] + b"." + body + b".AAAA"


@pytest.mark.parametrize(("make", "reason"), HOSTILE.values(), ids=HOSTILE)
def test_a_token_is_refused_that_is(make, reason):
    with pytest.raises(TokenRefused) as refused:
        judged(make())
    assert refused.value.reason.value == reason


def test_a_token_of_another_issuer_with_our_keys_is_refused():
    with pytest.raises(TokenRefused, match="unknown_issuer"):
        verified_claims(token(NOW, iss="https://login.test/realms/other"), KEYS["one"], RULES, NOW)


@pytest.mark.parametrize(("now_s", "counts"), [(NOW + 629, True), (NOW + 630, False), (NOW - 30, True), (NOW - 31, False)])
def test_clocks_may_differ_by_the_leeway_and_no_more(now_s, counts):
    if counts:
        assert judged(token(NOW), now_s)
    else:
        with pytest.raises(TokenRefused):
            judged(token(NOW), now_s)


def test_the_token_is_not_in_the_error_that_refuses_it():
    text = token(NOW - 7000)
    with pytest.raises(TokenRefused) as refused:
        judged(text)
    assert (str(refused.value), refused.value.args) == ("expired", ("expired",))


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        pytest.param(b"<html>", "no JWKS", id="a page of a proxy"),
        pytest.param(b'{"keys": {}}', "no public key", id="an object in place of the list"),
        pytest.param(b'{"keys": []}', "no public key", id="no key"),
        pytest.param(b"[" * 100_000, "no JWKS", id="nested without end"),
        pytest.param(key_set(("small", "one")), "no public key", id="an RSA key of 1024 bits"),
        pytest.param(key_set(("RS256", "one"), ("ES256", "one")), "one key id", id="two keys with one id"),
        pytest.param(
            json.dumps({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "one"}]}).encode(),
            "no public key",
            id="a shared secret",
        ),
        pytest.param(
            json.dumps({"keys": [{"kty": "RSA", "n": "AA", "e": "AQAB"}]}).encode(), "no public key", id="a damaged key"
        ),
        pytest.param(
            json.dumps({"keys": [public_jwk("RS256", "k") | {"use": "enc"}]}).encode(),
            "no public key",
            id="for encryption only",
        ),
        pytest.param(
            json.dumps({"keys": [public_jwk("RS256", f"{n}") for n in range(101)]}).encode(), "at most", id="too many"
        ),
    ],
)
def test_a_key_set_is_refused_that_is(document, problem):
    with pytest.raises(ValueError, match=problem):
        read_key_set(document)


def test_keys_of_other_kinds_in_a_set_are_left_out():
    document = json.dumps(
        {"keys": [public_jwk("RS256", "one"), {"kty": "oct", "k": "AA", "kid": "two"}, 7, {"kty": ["RSA"]}]}
    ).encode()
    assert list(read_key_set(document)) == ["one"]


def test_the_longest_token_that_is_read():
    assert MOST_BYTES == 8192


def test_the_server_of_an_issuer_s_keys_may_have_a_cluster_s_certificate(tmp_path):
    """From Python 3.13 ssl wants extensions that the authorities of many clusters do not have."""
    (tmp_path / "ca.crt").write_bytes(Authority().pem)
    context = trust_of(replace(RULES, ca=str(tmp_path / "ca.crt")))
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
