import hashlib
import hmac

import pytest
from msgspec.structs import replace

from fastim.core.commands import ChangeBlocks, RefuseConversations, Signature
from fastim.core.signature import (
    AHEAD,
    VALID,
    digest,
    login_texts,
    member_texts,
    named,
    signature_wanted,
    signed_texts,
    start_texts,
    vouches,
)
from fastim.core.units import Millis

KEY = "master"
NOW = Millis(1_800_000_000_000)


def sign(text: str, timestamp: int = NOW, nonce: str = "n", key: str = KEY) -> Signature:
    return Signature(timestamp, nonce, hmac.new(key.encode(), text.encode(), hashlib.sha1).hexdigest())


LOGIN = sign(f"app:tom::{NOW}:n")


def login_counts(signature: Signature, client: str = "tom", application: str = "app", now: int = NOW) -> bool:
    return vouches(signature, login_texts(application, client, signature), KEY, Millis(now))


def test_a_login_signature_counts_in_either_letter_case() -> None:
    assert login_counts(LOGIN)
    assert login_counts(replace(LOGIN, digest=LOGIN.digest.upper()))


def test_a_timestamp_in_seconds_counts_as_such() -> None:
    seconds = NOW // 1000
    assert login_counts(sign(f"app:tom::{seconds}:n", seconds))


@pytest.mark.parametrize("distance", [-VALID - 1, AHEAD + 1])
def test_a_signature_counts_in_its_window_only(distance: int) -> None:
    made_at = NOW + distance
    assert not login_counts(sign(f"app:tom::{made_at}:n", made_at))
    inside = made_at + (1 if distance < 0 else -1)
    assert login_counts(sign(f"app:tom::{inside}:n", inside))


@pytest.mark.parametrize(
    "wrong",
    [
        sign(f"app:jerry::{NOW}:n"),
        sign(f"other:tom::{NOW}:n"),
        sign(f"app:tom::{NOW}:m"),
        sign(f"app:tom::{NOW}:n", key="app-key"),
        replace(LOGIN, nonce="m"),
        replace(LOGIN, timestamp=NOW + 1),
        replace(LOGIN, digest=""),
        replace(LOGIN, digest=LOGIN.digest[:-1]),
        replace(LOGIN, digest="\ud800"),
        sign(f"app:tom::{NOW}:", nonce=""),
    ],
)
def test_a_wrong_signature_does_not_count(wrong: Signature) -> None:
    assert not login_counts(wrong)


def test_a_signature_made_before_the_client_was_kicked_is_void() -> None:
    texts = login_texts("app", "tom", LOGIN)
    assert not vouches(LOGIN, texts, KEY, NOW, void_before=NOW)
    assert vouches(LOGIN, texts, KEY, NOW, void_before=Millis(NOW - 1))


@pytest.mark.parametrize("signed", ["dli:ycui:zwang", "dli:zwang"])
@pytest.mark.parametrize("sent", [["dli", "zwang"], ["zwang", "ycui", "dli"], ["dli", "zwang", "dli"]])
def test_starting_may_be_signed_with_or_without_the_creator(signed: str, sent: list[str]) -> None:
    signature = sign(f"app:ycui:{signed}:{NOW}:n")
    assert vouches(signature, start_texts("app", "ycui", sent, signature), KEY, NOW)


def test_starting_with_other_members_than_signed_does_not_count() -> None:
    signature = sign(f"app:ycui:dli:zwang:{NOW}:n")
    assert not vouches(signature, start_texts("app", "ycui", ["dli", "eve"], signature), KEY, NOW)


def test_inviting_is_not_kicking() -> None:
    signature = sign(f"app:tom:conv:a:b:{NOW}:n:invite")
    assert vouches(signature, member_texts("app", "tom", "conv", ["b", "a"], "invite", signature), KEY, NOW)
    assert not vouches(signature, member_texts("app", "tom", "conv", ["b", "a"], "kick", signature), KEY, NOW)
    assert not vouches(signature, member_texts("app", "tom", "other", ["b", "a"], "invite", signature), KEY, NOW)


def test_blocking_and_refusing_are_signed_each_in_its_own_words() -> None:
    block, unblock = (ChangeBlocks("conv", ("b", "a", "b"), blocked) for blocked in (True, False))
    refuse, allow = (RefuseConversations(("conv",), refused) for refused in (True, False))
    texts = [signed_texts("app", "tom", command, LOGIN) for command in (block, unblock, refuse, allow)]
    assert texts == [
        [f"app:tom:conv:a:b:{NOW}:n:conversation-block-clients"],
        [f"app:tom:conv:a:b:{NOW}:n:conversation-unblock-clients"],
        [f"app:tom:conv::{NOW}:n:client-block-conversations"],
        [f"app:tom:conv::{NOW}:n:client-unblock-conversations"],
    ]
    assert all(signature_wanted(command, "tom") for command in (block, unblock, refuse, allow))
    assert named(block) == ("b", "a", "b")
    assert named(refuse) == ()


def test_of_several_refused_conversations_the_ids_ascend() -> None:
    (text,) = signed_texts("app", "tom", RefuseConversations(("d", "c", "d"), refused=True), LOGIN)
    assert text == f"app:tom:c:d::{NOW}:n:client-block-conversations"


def test_what_is_signed_here_counts_here() -> None:
    assert digest(f"app:tom::{NOW}:n", KEY) == LOGIN.digest
    assert login_counts(replace(LOGIN, digest=digest(f"app:tom::{NOW}:n", KEY)))
