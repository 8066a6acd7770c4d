"""Sessions: random, ended by idleness and by age, bounded in number."""

import pytest

from operators.console.roles import ALL_ROLES, ConsoleRole, SignedInPerson, roles_in
from operators.console.sessions import IDLE_S, LONGEST_S, MOST_OF_ONE, MOST_SESSIONS, SessionStore
from tests.fakes.clock import ManualClock

ANA = SignedInPerson("ana", ALL_ROLES)


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def sessions(clock):
    return SessionStore(clock.monotonic_s)


def test_ids_and_csrf_tokens_have_256_bits_and_are_different(sessions):
    made = [sessions.begin(SignedInPerson(f"p{i}", ALL_ROLES)) for i in range(20)]
    words = {one for session in made for one in (session.id, session.csrf)}
    assert len(words) == 40
    assert all(len(word) == 43 for word in words), "32 bytes in base64url"


def test_an_idle_session_ends(sessions, clock):
    session = sessions.begin(ANA)
    clock.advance(IDLE_S - 1)
    assert sessions.find(session.id) is session
    clock.advance(IDLE_S)
    assert sessions.find(session.id) is None


def test_a_look_that_does_not_count_as_a_request_prolongs_nothing(sessions, clock):
    session = sessions.begin(ANA)
    clock.advance(IDLE_S / 2)
    assert sessions.find(session.id, touch=False) is session
    clock.advance(IDLE_S / 2)
    assert sessions.find(session.id) is None


def test_a_busy_session_ends_with_its_age(sessions, clock):
    session = sessions.begin(ANA)
    for _ in range(int(LONGEST_S / (IDLE_S / 2))):
        found = sessions.find(session.id)
        clock.advance(IDLE_S / 2)
    assert found is session
    assert sessions.find(session.id) is None


def test_a_session_lasts_no_longer_than_its_credentials(sessions, clock):
    session = sessions.begin(ANA, lasts_s=60)
    clock.advance(59)
    assert sessions.find(session.id) is session
    clock.advance(1)
    assert sessions.find(session.id) is None


def test_a_person_has_few_sessions_and_the_one_idle_longest_makes_room(sessions, clock):
    made = []
    for _ in range(MOST_OF_ONE):
        made.append(sessions.begin(ANA))
        clock.advance(1)
    sessions.find(made[0].id)
    sessions.begin(ANA)
    assert sessions.find(made[0].id) is made[0]
    assert sessions.find(made[1].id) is None


def test_all_people_together_have_a_bounded_number(sessions):
    for i in range(MOST_SESSIONS + 5):
        sessions.begin(SignedInPerson(f"p{i}", ALL_ROLES))
    assert len(sessions) == MOST_SESSIONS


def test_ending_a_session_tells_its_streams(sessions):
    session, told = sessions.begin(ANA), []
    session.endings.append(lambda: told.append("over"))
    sessions.end(session.id)
    assert (told, sessions.find(session.id)) == (["over"], None)


def test_the_token_of_a_cluster_is_not_printed(sessions):
    assert "s3cret" not in repr(sessions.begin(ANA, token="s3cret"))


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        pytest.param({"console-sre", "analyst"}, {ConsoleRole.SRE}, id="only roles with the prefix count"),
        pytest.param({"console-viewer", "console-approver"}, {ConsoleRole.VIEWER, ConsoleRole.APPROVER}, id="several"),
        pytest.param({"viewer", "console-admin"}, set(), id="none"),
    ],
)
def test_roles_come_from_the_access_policy(policy, expected):
    assert roles_in(frozenset(policy)) == expected


def test_who_has_any_role_may_look_and_only_that():
    person = SignedInPerson("ana", frozenset({ConsoleRole.ANALYST}))
    assert [role for role in ConsoleRole if person.may(role)] == [ConsoleRole.VIEWER, ConsoleRole.ANALYST]
    assert not SignedInPerson("bob", frozenset()).may(ConsoleRole.VIEWER)


@pytest.mark.parametrize(
    ("lasts_s", "why"),
    [
        pytest.param(None, "no request for 30 min", id="idle"),
        pytest.param(60.0, "its time was over", id="its credentials ended"),
    ],
)
def test_a_session_that_ends_by_time_is_told_once_and_closes_its_streams(sessions, clock, lasts_s, why):
    session, closed = sessions.begin(ANA, lasts_s=lasts_s), []
    session.endings.append(lambda: closed.append("over"))
    assert sessions.next_end_s() == (lasts_s or IDLE_S)
    clock.advance(sessions.next_end_s())
    sessions.end_over()
    assert (closed, sessions.take_lapsed(), sessions.take_lapsed()) == (["over"], [(session, why)], [])
    assert sessions.next_end_s() is None


def test_a_session_that_is_found_to_be_over_is_told_too(sessions, clock):
    session = sessions.begin(ANA)
    clock.advance(IDLE_S)
    assert sessions.find(session.id) is None
    assert sessions.take_lapsed() == [(session, "no request for 30 min")]


def test_a_session_that_makes_room_is_told(sessions):
    made = [sessions.begin(ANA) for _ in range(MOST_OF_ONE + 1)]
    ((ended, why),) = sessions.take_lapsed()
    assert ended in made
    assert "another session of the same person began" in why


def test_what_somebody_ended_is_not_told_as_if_nobody_had(sessions):
    sessions.end(sessions.begin(ANA).id)
    sessions.end_unless(lambda session: False)
    assert sessions.take_lapsed() == []


def test_requests_put_off_the_end(sessions, clock):
    session = sessions.begin(ANA)
    clock.advance(60)
    sessions.find(session.id)
    assert sessions.next_end_s() == IDLE_S
