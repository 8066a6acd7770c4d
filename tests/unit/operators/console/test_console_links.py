"""One-time links: made by whoever reads the store, good once, not for long, not for another console."""

import stat

import pytest

from operators.console.sign_in import LINK_LASTS_S, Links, SignIn, SignInRefused, keep_link_key, link_file, read_link_key
from tests.fakes.clock import ManualClock


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def links(clock):
    return Links(b"k" * 32, wall_s=clock.monotonic_s)


def test_a_link_counts_once(links):
    made = links.make()
    links.use(made)
    with pytest.raises(SignInRefused, match="once"):
        links.use(made)


def test_a_link_ends(links, clock):
    made = links.make()
    clock.advance(LINK_LASTS_S)
    with pytest.raises(SignInRefused, match="old"):
        links.use(made)


@pytest.mark.parametrize(
    "forged",
    [
        pytest.param(lambda made: "", id="empty"),
        pytest.param(lambda made: "99999999999" + made[made.index(".") :], id="a later end"),
        pytest.param(lambda made: made[:-1] + ("A" if made[-2] != "A" else "B"), id="another seal"),
        pytest.param(lambda made: made.rpartition(".")[0] + ".", id="no seal"),
        pytest.param(lambda made: made + "\udcff", id="bytes that are no text"),
        pytest.param(lambda made: made * 50, id="long"),
    ],
)
def test_what_the_console_did_not_make_is_refused(links, forged):
    with pytest.raises(SignInRefused):
        links.use(forged(links.make()))


def test_a_new_console_takes_no_links_of_the_one_before(tmp_path):
    before = keep_link_key(tmp_path, "http://127.0.0.1:1").make()
    after = keep_link_key(tmp_path, "http://127.0.0.1:2")
    with pytest.raises(SignInRefused):
        after.use(before)


def test_the_key_is_readable_by_its_user_only(tmp_path):
    keep_link_key(tmp_path, "http://127.0.0.1:8090")
    assert stat.S_IMODE(link_file(tmp_path).stat().st_mode) == 0o600
    assert stat.S_IMODE(link_file(tmp_path).parent.stat().st_mode) & 0o077 == 0


def test_whoever_reads_the_store_makes_a_link_that_counts(tmp_path):
    console = keep_link_key(tmp_path, "http://127.0.0.1:8090")
    address, links = read_link_key(tmp_path)
    person = SignIn(console, None, owner="ana").by_link(links.make())
    assert (address, person.name, person.how) == ("http://127.0.0.1:8090", "ana", "link")


def test_a_console_with_an_access_policy_takes_no_links():
    with pytest.raises(SignInRefused, match="key or token"):
        SignIn(None, None).by_link("1.a.b")
