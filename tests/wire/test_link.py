import pytest

from fastim.core.application import Application
from fastim.core.errors import AppNotAvailable, InvalidLogin, SessionRequired
from fastim.core.ids import AppNumber
from fastim.core.session import Config, OfflineMode, Session
from fastim.core.units import Millis
from fastim.wire.link import SESSIONS_MAX, Link


def session(number: int, client_id: str) -> Session:
    return Session(number, client_id, "", "", Config(0), OfflineMode.UNREAD, Millis(0))


def application(number: int) -> Application:
    return Application(AppNumber(number), f"app{number}", "key", "master", "hook")


@pytest.fixture
def link() -> Link:
    return Link(OfflineMode.UNREAD)


def test_nobody_is_there_before_a_session_is_open(link: Link) -> None:
    for client_id in (None, "", "tom"):
        with pytest.raises(SessionRequired):
            link.session(client_id)


def test_a_command_without_a_client_id_is_for_the_first_session_that_is_still_open(link: Link) -> None:
    tom, jerry, spike = session(1, "tom"), session(2, "jerry"), session(3, "spike")
    for one in (tom, jerry, spike):
        link.opened(one)
    assert link.session(None) == link.session("") == tom
    link.closed(tom)
    assert link.session(None) == jerry


def test_a_command_with_a_client_id_is_for_that_one_alone(link: Link) -> None:
    link.opened(session(1, "tom"))
    link.opened(session(2, "jerry"))
    assert link.session("jerry").number == 2
    with pytest.raises(SessionRequired):
        link.session("spike")


def test_who_opens_again_keeps_its_place(link: Link) -> None:
    for one in (session(1, "tom"), session(2, "jerry"), session(3, "tom")):
        link.opened(one)
    assert link.session(None).number == 3


def test_who_comes_back_after_closing_stands_last(link: Link) -> None:
    tom = session(1, "tom")
    link.opened(tom)
    link.opened(session(2, "jerry"))
    link.closed(tom)
    link.opened(session(3, "tom"))
    assert link.session(None).client_id == "jerry"


def test_the_end_of_a_session_that_was_opened_again_means_nothing(link: Link) -> None:
    first, second = session(1, "tom"), session(2, "tom")
    link.opened(first)
    link.opened(second)
    assert not link.closed(first)
    assert link.session("tom") == second
    assert link.closed(second)
    assert not link.closed(second)


def test_a_connection_belongs_to_one_application(link: Link) -> None:
    link.join(application(1))
    link.join(application(1))
    with pytest.raises(AppNotAvailable):
        link.join(application(2))
    assert link.application == application(1)


def test_a_connection_has_only_so_many_sessions(link: Link) -> None:
    for number in range(SESSIONS_MAX):
        link.join(application(1))
        link.opened(session(number, f"client{number}"))
    with pytest.raises(InvalidLogin):
        link.join(application(1))
