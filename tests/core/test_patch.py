import msgspec
import pytest
from msgspec.structs import replace

from fastim.core.commands import PatchMessage
from fastim.core.errors import (
    MessageNotFound,
    MessageNotOwned,
    MessageTooLong,
    ModifyDisabled,
    RecallDisabled,
    Silenced,
    SilencedForATime,
)
from fastim.core.message import Message
from fastim.core.patch import patch
from fastim.core.permission import Asker
from fastim.core.policy import Policy
from fastim.core.standing import Standing
from fastim.core.units import Millis

POLICY = Policy(message_bytes=100)
NOW = Millis(1_000)
HI = Message("m", Millis(5), 1, "tom", b"hi", receipt=True, mention_all=True, mentions=("jerry",), address="::1")
MODIFY = PatchMessage("c", HI.position, body=b"hello", mentions=("a", "b", "a"), size_bytes=20)
RECALL = PatchMessage("c", HI.position, recall=True, body=b"ignored", mentions=("a",), size_bytes=20)
TOM = Asker("tom", member=True)
OFFICE = Asker("tom", member=False, privileged=True)


@pytest.mark.rule("8.4")
def test_a_modified_message_stays_where_it_is_and_has_another_body_and_other_mentions() -> None:
    patched = patch(HI, TOM, MODIFY, POLICY, NOW)
    assert patched == replace(HI, body=b"hello", mention_all=False, mentions=("a", "b"))
    binary = patch(HI, TOM, replace(MODIFY, body=b"\xff", binary=True, mention_all=True), POLICY, NOW)
    assert (binary.body, binary.binary, binary.mention_all) == (b"\xff", True, True)


@pytest.mark.rule("8.4")
def test_of_a_recalled_message_only_that_is_left() -> None:
    patched = patch(replace(HI, binary=True), TOM, RECALL, POLICY, NOW)
    assert patched == replace(HI, body=b'{"_lctype":-127}', mention_all=False, mentions=(), recalled=True)
    assert msgspec.json.decode(patched.body) == {"_lctype": -127}


def test_recalling_twice_equals_recalling_once() -> None:
    recalled = patch(HI, TOM, RECALL, POLICY, NOW)
    assert patch(recalled, TOM, RECALL, POLICY, NOW) is recalled


def test_what_was_recalled_cannot_be_modified() -> None:
    with pytest.raises(MessageNotFound):
        patch(patch(HI, TOM, RECALL, POLICY, NOW), TOM, MODIFY, POLICY, NOW)


@pytest.mark.rule("8.2")
@pytest.mark.parametrize("command", [MODIFY, RECALL])
@pytest.mark.parametrize("privileged", [True, False])
def test_only_its_sender_may_and_only_what_is_there(command: PatchMessage, privileged: bool) -> None:
    with pytest.raises(MessageNotOwned) as caught:
        patch(HI, Asker("jerry", member=True, privileged=privileged), command, POLICY, NOW)
    assert caught.value.code == 4403
    with pytest.raises(MessageNotFound) as missing:
        patch(None, replace(TOM, privileged=privileged), command, POLICY, NOW)
    assert missing.value.code == 4404


@pytest.mark.rule("8.1", "8.7")
def test_each_switch_stops_clients_from_one_of_the_two_and_never_the_application() -> None:
    rigid, final = replace(POLICY, modify_enabled=False), replace(POLICY, recall_enabled=False)
    with pytest.raises(ModifyDisabled) as modifying:
        patch(HI, TOM, MODIFY, rigid, NOW)
    with pytest.raises(RecallDisabled) as recalling:
        patch(HI, TOM, RECALL, final, NOW)
    assert (modifying.value.code, recalling.value.code) == (4406, 4407)
    assert patch(HI, TOM, RECALL, rigid, NOW).recalled
    assert patch(HI, TOM, MODIFY, final, NOW).body == b"hello"
    assert patch(HI, OFFICE, MODIFY, rigid, NOW).body == b"hello"
    assert patch(HI, OFFICE, RECALL, final, NOW).recalled


@pytest.mark.rule("2.2")
@pytest.mark.parametrize("asker", [TOM, OFFICE])
def test_a_new_body_is_as_long_as_a_message_may_be(asker: Asker) -> None:
    assert patch(HI, asker, replace(MODIFY, size_bytes=100), POLICY, NOW)
    with pytest.raises(MessageTooLong):
        patch(HI, asker, replace(MODIFY, size_bytes=101), POLICY, NOW)


@pytest.mark.rule("4.8", "4.9")
def test_who_is_silenced_says_nothing_new_but_may_take_back() -> None:
    silenced = replace(TOM, standing=Standing(silenced=True))
    with pytest.raises(Silenced):
        patch(HI, silenced, MODIFY, POLICY, NOW)
    with pytest.raises(SilencedForATime):
        patch(HI, replace(TOM, standing=Standing(silenced_until=Millis(NOW + 1))), MODIFY, POLICY, NOW)
    assert patch(HI, silenced, RECALL, POLICY, NOW).recalled
