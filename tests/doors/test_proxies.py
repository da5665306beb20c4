import pytest

from fastim.doors.http.proxies import Proxies, peer_of

LOCAL = Proxies(["10.0.0.0/8", "::1/128"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7, 10.0.0.2"], "203.0.113.7"),
        ("10.0.0.1", ["203.0.113.7", "10.0.0.2,10.0.0.3"], "203.0.113.7"),
        ("10.0.0.1", ["10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        ("10.0.0.1", ["203.0.113.7:4711"], "203.0.113.7"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("10.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["203.0.113.7"], "203.0.113.7"),
        ("::1", [" 203.0.113.7 "], "203.0.113.7"),
    ],
)
def test_behind_a_proxy_the_client_is_who_the_nearest_stranger_was(
    peer: str, forwarded: list[str], address: str
) -> None:
    assert LOCAL.client_address(peer, forwarded) == address


@pytest.mark.parametrize(
    ("peer", "forwarded"),
    [
        ("203.0.113.7", ["198.51.100.1"]),
        ("203.0.113.7", ["10.0.0.1"]),
        ("", ["198.51.100.1"]),
    ],
)
def test_what_anybody_else_says_of_itself_does_not_count(peer: str, forwarded: list[str]) -> None:
    assert LOCAL.client_address(peer, forwarded) == peer


@pytest.mark.parametrize("forged", ["198.51.100.1, 203.0.113.7", "unknown, 203.0.113.7", "10.0.0.4, 203.0.113.7"])
def test_what_stands_left_of_a_stranger_may_be_its_invention(forged: str) -> None:
    assert LOCAL.client_address("10.0.0.1", [forged]) == "203.0.113.7"


@pytest.mark.parametrize("hidden", ["unknown", "_hidden", "", "203.0.113.7, , 10.0.0.2", "203.0.113.7, x"])
def test_behind_who_hides_nobody_is_known(hidden: str) -> None:
    assert LOCAL.client_address("10.0.0.1", [hidden]) in ("10.0.0.1", "10.0.0.2")


def test_without_trusted_proxies_the_peer_is_the_client() -> None:
    assert Proxies([]).client_address("127.0.0.1", ["203.0.113.7"]) == "127.0.0.1"


def test_a_socket_without_an_address_has_none() -> None:
    assert peer_of("/run/fastim.sock") == peer_of(None) == ""
    assert peer_of(("203.0.113.7", 4711)) == "203.0.113.7"
