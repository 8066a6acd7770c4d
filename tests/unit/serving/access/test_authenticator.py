"""Who asks: what is remembered, what is looked at again, and what a flood of strangers costs."""

import asyncio
import threading

import pytest

from serving.access.authentication import authenticator as module
from serving.access.authentication.api_keys import utc
from serving.access.credentials import Credentials, PeerCertificate
from serving.access.verbs import Verb
from serving.errors import Overloaded, Unauthenticated, Unavailable
from tests.fakes.serving.guarded.gate_world import FakeWorld, bearer
from tests.fakes.serving.guarded.token_issuer import key_set, token, unsigned


async def asks(world, credentials, verb=Verb.INFER, model="simple"):
    found = world.gate.recall(credentials, verb, model, "http")
    return found or await world.gate.verify(credentials, verb, model, "http")


def verifications(world):
    return sum(world.gate.events._verified.values())


@pytest.fixture
def world():
    return FakeWorld()


async def test_a_token_is_verified_once_and_remembered_until_it_expires(world):
    good = bearer(token(world.now_s, sub="soar"))
    assert (await asks(world, good)).caller.name == "token:corp:soar"
    for _ in range(10):
        assert world.gate.recall(good, Verb.INFER, "simple", "http").caller.name == "token:corp:soar"
    assert verifications(world) == 1
    world.now_s += 630
    with pytest.raises(Unauthenticated):
        await asks(world, good)


async def test_no_token_stays_in_the_memory(world):
    text = token(world.now_s, sub="soar")
    await asks(world, bearer(text))
    assert text not in repr(vars(world.gate.authenticator)).encode()


async def test_a_token_with_a_far_end_is_looked_at_again_after_an_hour(world):
    good = bearer(token(world.now_s, sub="soar", exp=int(world.now_s) + 10**7))
    await asks(world, good)
    world.now_s += module.LONGEST_S
    assert world.gate.recall(good, Verb.INFER, "simple", "http") is None


async def test_the_keys_of_an_issuer_are_fetched_at_the_first_token(world):
    assert world.issuer.asked == 0
    await asks(world, bearer(token(world.now_s)))
    await asks(world, bearer(token(world.now_s, sub="ann")))
    assert world.issuer.asked == 1


async def test_a_rotated_key_is_picked_up_by_the_first_token_that_names_it(world):
    await asks(world, bearer(token(world.now_s)))
    world.issuer.answer = key_set(("RS256", "one"), ("ES256", "new"))
    world.now_s += 11
    assert (await asks(world, bearer(token(world.now_s, kind="ES256", kid="new")))).caller.name == "token:corp:soar"
    assert world.issuer.asked == 2


async def test_a_key_that_was_taken_back_ends_the_tokens_that_it_signed(world):
    good = bearer(token(world.now_s))
    await asks(world, good)
    world.issuer.answer = key_set(("ES256", "new"))
    await world.gate.authenticator.key_sets[world.policy.issuers[0].issuer].look()
    with pytest.raises(Unauthenticated):
        await asks(world, good)


async def test_unknown_key_ids_lead_to_one_look_in_ten_seconds(world):
    await asks(world, bearer(token(world.now_s)))
    world.now_s += 11
    for n in range(50):
        with pytest.raises(Unauthenticated):
            await asks(world, bearer(token(world.now_s, kid=f"unknown-{n}")))
    assert world.issuer.asked == 2


async def test_requests_that_wait_for_keys_wait_for_the_same_look(world):
    begun, release = threading.Event(), threading.Event()

    def slow(_):
        begun.set()
        assert release.wait(30)
        return key_set(("RS256", "one"))

    world.gate.authenticator.key_sets[world.policy.issuers[0].issuer]._fetch = slow
    waiting = [asyncio.create_task(asks(world, bearer(token(world.now_s, jti=f"{n}")))) for n in range(20)]
    await asyncio.to_thread(begun.wait, 30)
    release.set()
    assert {one.caller.name for one in await asyncio.gather(*waiting)} == {"token:corp:soar"}


@pytest.mark.parametrize(
    "answer", [OSError("away"), b"<html>", b"", ValueError("500")], ids=["away", "garbage", "empty", "an error"]
)
async def test_an_issuer_that_is_away_keeps_its_keys_and_then_gets_503(world, answer):
    await asks(world, bearer(token(world.now_s)))
    world.issuer.answer = answer
    world.now_s += 86_000
    assert (await asks(world, bearer(token(world.now_s)))).caller.name == "token:corp:soar"
    world.now_s += 500
    with pytest.raises(Unavailable):
        await asks(world, bearer(token(world.now_s, jti="x")))
    world.issuer.answer = key_set(("RS256", "one"))
    world.now_s += 11
    assert (await asks(world, bearer(token(world.now_s)))).caller.name == "token:corp:soar"


async def test_an_issuer_that_was_never_there_is_503_and_no_401(world):
    world.issuer.answer = OSError("away")
    with pytest.raises(Unavailable) as refused:
        await asks(world, bearer(token(world.now_s)))
    assert refused.value.retry_after_s


@pytest.mark.heavy
async def test_an_issuer_that_is_away_makes_nobody_a_flooder(world):
    world.issuer.answer = OSError("away")
    for n in range(200):
        with pytest.raises(Unavailable):
            await asks(world, bearer(token(world.now_s, jti=f"{n}")))


@pytest.mark.heavy
async def test_thousands_of_wrong_tokens_cost_a_bounded_number_of_looks_and_a_bounded_memory(world):
    good = bearer(token(world.now_s), "10.0.0.7")
    await asks(world, good)
    before, refused = verifications(world), {Unauthenticated: 0, Overloaded: 0}
    head = {"alg": "RS256", "kid": "one"}
    for n in range(5000):
        wrong = bearer(unsigned(head, {"iss": world.policy.issuers[0].issuer, "n": n}, b"x" * 256))
        try:
            await asks(world, wrong)
        except (Unauthenticated, Overloaded) as problem:
            refused[Overloaded if isinstance(problem, Overloaded) else Unauthenticated] += 1
    assert sum(refused.values()) == 5000
    assert verifications(world) - before <= module.FAILURES_PER_S * module.FAILURES_BURST_S + 1
    assert world.gate.authenticator.remembered[1] <= 101
    assert (await asks(world, good)).caller.name == "token:corp:soar", "whoever is known is let in meanwhile"
    assert (await asks(world, bearer(token(world.now_s, sub="ann"), "10.0.0.8"))).caller, "as are others elsewhere"


@pytest.mark.heavy
async def test_a_flood_from_many_addresses_is_bounded_too(world):
    await asks(world, bearer(token(world.now_s), "10.0.0.7"))
    before = verifications(world)
    for n in range(20_000):
        with pytest.raises((Unauthenticated, Overloaded)):
            await asks(world, bearer(b"a.b.%d" % n, f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"))
    assert verifications(world) - before <= module.ALL_FAILURES_PER_S * module.FAILURES_BURST_S + 1
    assert len(world.gate.authenticator._failures) <= module.MOST_ADDRESSES


async def test_what_was_wrong_is_not_verified_again_for_a_while(world):
    wrong = bearer(token(world.now_s, aud="other"))
    for _ in range(20):
        with pytest.raises(Unauthenticated):
            await asks(world, wrong)
    assert verifications(world) == 1


async def test_a_key_counts_in_either_header_and_ends_when_it_is_revoked_or_expires(world):
    key = world.key(expires=utc(world.now_s + 100))
    for credentials in (Credentials(api_key=key.encode()), bearer(key.encode())):
        assert (await asks(world, credentials)).caller.name == f"key:{key.split('_')[1]}"
    world.now_s += 100
    with pytest.raises(Unauthenticated):
        await asks(world, Credentials(api_key=key.encode()))


async def test_a_revoked_key_is_refused_at_once(world):
    key = world.key()
    await asks(world, Credentials(api_key=key.encode()))
    (entry,) = world.keys.entries.values()
    revoked = type(world.keys)({entry.id: entry.model_copy(update={"revoked": utc(world.now_s)})})
    world.gate.use(world.policy, revoked)
    with pytest.raises(Unauthenticated):
        await asks(world, Credentials(api_key=key.encode()))


async def test_a_certificate_is_a_caller_by_its_spiffe_id(world):
    peer = PeerCertificate("CN=x", (), ("spiffe://prod/ns/soc/sa/soar",), "ab" * 32)
    caller = (await asks(world, Credentials(certificate=peer))).caller
    assert (caller.name, caller.tenant, caller.method) == ("certificate:spiffe://prod/ns/soc/sa/soar", "blue", "certificate")
    with pytest.raises(Unauthenticated):
        await asks(world, Credentials(certificate=PeerCertificate("CN=spiffe://prod/x", sha256="cd" * 32)))


async def test_a_wrong_token_is_not_made_good_by_a_certificate_or_a_key(world):
    peer = PeerCertificate("CN=x", (), ("spiffe://prod/a",), "ab" * 32)
    with pytest.raises(Unauthenticated):
        await asks(world, Credentials(b"Bearer nonsense", world.key().encode(), peer))


@pytest.mark.parametrize(
    "header", [b"", b"Basic dXNlcjpwYXNz", b"Bearer", b"Bearer ", b"Bearer  ", b"bearer\tx", b"Bearer " + b"a" * 60_000]
)
async def test_a_header_that_holds_no_token(world, header):
    with pytest.raises(Unauthenticated):
        await asks(world, Credentials(header))
