"""What a caller who means ill may cost: time for a long name, memory for many, the memory of others; and what ends with a certificate."""

import asyncio
import os
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from serving.access.authentication import authenticator as module
from serving.access.authentication import key_sets
from serving.access.authentication.key_sets import fetch_keys
from serving.access.credentials import Credentials, PeerCertificate
from serving.access.followed_files import AccessFiles, follow
from serving.access.gate import Gate
from serving.access.guarded_service import GuardedService
from serving.access.policy import LONGEST_REMEMBERED, Binding, Globs, Rights
from serving.access.policy_file import parse_policy
from serving.access.refusals import RateLimited
from serving.access.verbs import Verb
from serving.errors import Forbidden, Unauthenticated, Unavailable
from serving.ports import FeatureServiceInfo, FieldInfo
from tests.fakes.serving.features import FakeFeatureReader
from tests.fakes.serving.guarded.gate_world import POLICY, FakeWorld, bearer
from tests.fakes.serving.guarded.token_issuer import ISSUER, key_set, token
from tests.unit.serving.scoring import variants
from tests.waiting import HANG_S, until_so


async def asks(world, credentials, model="simple"):
    found = world.gate.recall(credentials, Verb.INFER, model, "http")
    return found or await world.gate.verify(credentials, Verb.INFER, model, "http")


@pytest.fixture
def world():
    return FakeWorld()


def test_a_long_name_costs_no_time_that_grows_with_a_power_of_it():
    """An expression that tries every place for every `*` never ends here."""
    assert not Globs(["a*a*a*a*a*a*b"]).match("a" * 60_000)
    assert Globs(["a*a*a*a*a*a*b"]).match("a" * 60_000 + "b")


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("*", "", True),
        ("**", "x", True),
        ("a*", "a", True),
        ("*a", "ba", True),
        ("a*a", "a", False),
        ("a*a", "aa", True),
        ("a*b*b", "abb", True),
        ("a*b*b", "ab", False),
        ("*ab*ab", "abab", True),
        ("*ab*ab", "ababab", True),
        ("*aab*b", "aaabb", True),
        ("a.*", "ab", False),
        ("*\n*", "a\nb", True),
        ("", "", True),
        ("", "a", False),
    ],
)
def test_any_characters_and_nothing_else(pattern, name, is_match):
    assert Globs([pattern]).match(name) is is_match
    assert Globs(["other", pattern]).match(name) is is_match


def test_long_names_are_decided_and_not_remembered():
    policy = parse_policy(POLICY.replace("ISSUER", ISSUER), Path("p.yaml"))
    rights = Rights(policy, Binding(frozenset({"scorer"})))
    for n in range(3):
        assert rights.may(Verb.INFER, f"{n}" * (LONGEST_REMEMBERED + 1))
    assert rights._decided == {}
    assert rights.may(Verb.INFER, "simple")
    assert len(rights._decided) == 1


async def test_callers_with_the_same_roles_share_what_is_decided(world):
    first, second = [(await asks(world, bearer(token(world.now_s, sub="soar", jti=f"{n}")))).rights for n in range(2)]
    assert first is second
    assert (await asks(world, bearer(token(world.now_s, sub="blue-1")), "echo")).rights is not first


@pytest.mark.parametrize("form", [b"%b!", b"%b=", b"%b~", b" %b", b"%b ", b"%b,%b", b"%b\n"])
async def test_a_token_counts_in_one_form_only(world, form):
    """Else one good token, written in endless forms, would be verified each time and displace what is remembered of others."""
    good = token(world.now_s)
    await asks(world, bearer(good))
    for written in (form.replace(b"%b", good), good.replace(b".", b"." + form.replace(b"%b", b""), 1)):
        with pytest.raises(Unauthenticated):
            await asks(world, bearer(written))
    assert world.gate.authenticator.remembered[0] == 1


async def test_one_person_with_a_network_of_addresses_takes_no_new_token_from_others(world):
    """A /64 of IPv6 is one client: its failures do not use up those of all."""
    for n in range(1000):
        with pytest.raises((Unauthenticated, RateLimited)):
            await asks(world, Credentials(api_key=b"wrong%d" % n, address=f"2001:db8::{n:x}"))
    assert (await asks(world, bearer(token(world.now_s), "2001:db8:1::1"))).caller.name == "token:corp:soar"
    assert len(world.gate.authenticator._failures) == 2


async def test_a_policy_that_changes_while_a_request_waits_for_keys_does_not_cut_the_request_off(world):
    begun, release = threading.Event(), threading.Event()

    def slow(_):
        begun.set()
        assert release.wait(30)
        return key_set(("RS256", "one"))

    world.gate.authenticator.key_sets[ISSUER]._fetch = slow
    waiting = asyncio.create_task(asks(world, bearer(token(world.now_s))))
    await asyncio.to_thread(begun.wait, 30)
    other = parse_policy(POLICY.replace("ISSUER", ISSUER).replace("keys.json", "moved.json"), Path("p.yaml"))
    world.gate.use(other, world.keys)
    try:
        with pytest.raises(Unavailable):
            await waiting
    finally:
        release.set()


async def test_a_certificate_that_ends_while_its_connection_lives_ends_what_it_allows(world):
    shown = PeerCertificate("CN=a", uris=("spiffe://prod/a",), sha256="0" * 64, expires_s=world.now_s + 60)
    credentials = Credentials(certificate=shown, address="10.0.0.1")
    assert (await asks(world, credentials)).caller.name == "certificate:spiffe://prod/a"
    world.now_s += 59
    assert world.gate.recall(credentials, Verb.INFER, "simple", "http") is not None
    world.now_s += 1
    with pytest.raises(Unauthenticated):
        await asks(world, credentials)


def test_an_issuer_over_https_cannot_lead_to_keys_over_an_open_line(monkeypatch):
    issuer = parse_policy(
        POLICY.replace("ISSUER", "https://login.test").replace("    keys: keys.json\n", ""), Path("p.yaml")
    ).issuers[0]
    asked = []

    def read(place, *_):
        asked.append(place)
        return b'{"issuer": "https://login.test", "jwks_uri": "http://login.test/keys"}'

    monkeypatch.setattr("serving.access.authentication.key_sets._read", read)
    with pytest.raises(ValueError, match="no https URL"):
        fetch_keys(issuer)
    assert len(asked) == 1


def test_the_memory_of_sets_of_rights_is_bounded(world):
    for n in range(module.MOST_BINDINGS + 10):
        world.gate.authenticator._rights_of(Binding(frozenset(), f"tenant-{n}"))
    assert len(world.gate.authenticator._rights) == module.MOST_BINDINGS


async def test_a_candidate_that_reads_stored_features_is_refused_to_tenants_as_a_stable_that_does(tmp_path):
    """A rollout may bring the candidate that reads them to a shared model whose stable does not; and a request may name it."""
    reader = FakeFeatureReader(FeatureServiceInfo("first", (FieldInfo("host", "BYTES"),), (), ()))
    served = variants.World(tmp_path / "store", features=reader)
    stable = variants.threat(tmp_path / "1", "1")
    candidate = variants.threat(tmp_path / "2", "2", feature_service="first")
    for bundle in (stable, candidate):
        served.store.add(bundle)
    world = FakeWorld(policy=POLICY.replace("shared_models: [simple]", "shared_models: [threat]"))
    blue = await asks(world, bearer(token(world.now_s, sub="blue-1")), "threat")
    guarded = GuardedService(served.service, world.gate, blue, Verb.INFER, "http")
    await served.service.apply(variants.spec(stable))
    assert (await guarded.infer(variants.request("a"))).version == "1"
    await served.service.apply(variants.spec(stable, variants.variant(candidate, weight=1)))
    for named in (None, "candidate"):
        with pytest.raises(Forbidden):
            await guarded.infer(variants.request("a", variant=named))
    assert served.service.reads_features("threat", "2")
    assert not served.service.reads_features("threat", "1"), "a version that is named answers alone"


async def test_an_issuer_that_does_not_answer_does_not_keep_a_revoked_key_alive(tmp_path, monkeypatch):
    monkeypatch.setattr(key_sets, "TIMEOUT_S", 10 * HANG_S)
    release, hung = threading.Event(), threading.Event()

    def slow(_):
        hung.set()
        assert release.wait(HANG_S)
        return key_set(("RS256", "one"))

    path = tmp_path / "access.yaml"
    path.write_text(POLICY.replace("ISSUER", ISSUER))
    path.chmod(0o600)
    files = AccessFiles(path)
    files.start()
    gate = Gate(files.policy, files.keys, random=os.urandom, fetch=slow)
    task = asyncio.create_task(follow(gate, files, every_s=0.01))
    try:
        await until_so(hung.is_set)
        path.write_text(POLICY.replace("ISSUER", ISSUER) + "open: [health]\n")
        await until_so(lambda: gate.open == {Verb.HEALTH})
    finally:
        release.set()
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
