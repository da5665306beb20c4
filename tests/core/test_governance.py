import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.structs import replace

from fastim.core.commands import ChangeBlocks, ChangeSilence, Page, SetRole
from fastim.core.conversation import Conversation, Kind
from fastim.core.errors import (
    BlacklistDisabled,
    BlacklistFull,
    InvalidLogin,
    MembershipRequired,
    NormalConversationRequired,
    OwnerNeeded,
    QueryFailed,
    RankTooLow,
    RolesDisabled,
    SilencedListFull,
    UnknownRole,
)
from fastim.core.governance import (
    change_blocks,
    change_silence,
    cut,
    give_role,
    outranks,
    record_id,
    records,
    silence_for_a_time,
    take_role,
)
from fastim.core.permission import Asker
from fastim.core.policy import LIST_LIMIT_MAX, LISTED_IN_ROOM_MAX, LISTED_MAX, Policy
from fastim.core.standing import UNREMARKABLE, Role, Standing
from fastim.core.units import Millis

NOW = Millis(1_767_268_800_000)
TEA = Conversation("c", Kind.NORMAL, "tom", NOW, NOW, members=("tom", "jerry", "spike", "tyke"), muted=("spike",))
ROOM = Conversation("r", Kind.CHAT_ROOM, "tom", NOW, NOW)
OWNER = Asker("tom", member=True)
MANAGED = Standing(role=Role.MANAGER)
MANAGER = Asker("jerry", member=True, standing=MANAGED)
OFFICE = Asker("", member=False, privileged=True)
POLICY = Policy()


class TestRoles:
    @pytest.mark.rule("4.1", "4.4")
    def test_an_owner_makes_managers_and_members_of_members(self) -> None:
        for role in (Role.MANAGER, Role.MEMBER):
            verdict = give_role(TEA, OWNER, SetRole("c", "jerry", role.wire_name), UNREMARKABLE, POLICY)
            assert verdict.standings == {"jerry": Standing(role=role)}
            assert verdict.conversation == replace(TEA, regulated=True, roles_given=True)

    def test_what_was_so_already_changes_nothing(self) -> None:
        verdict = give_role(TEA, OWNER, SetRole("c", "jerry", "Manager"), MANAGED, POLICY)
        assert (verdict.standings, verdict.clients) == ({}, ())

    @pytest.mark.rule("4.1")
    def test_clients_make_no_owners_and_the_application_does(self) -> None:
        command = SetRole("c", "jerry", "Owner")
        with pytest.raises(UnknownRole) as caught:
            give_role(TEA, OWNER, command, UNREMARKABLE, POLICY)
        assert caught.value.code == 4321
        assert give_role(TEA, OFFICE, command, UNREMARKABLE, POLICY).standings == {"jerry": Standing(role=Role.OWNER)}

    @pytest.mark.rule("4.1")
    def test_the_creator_stays_the_owner(self) -> None:
        command = SetRole("c", "tom", "Member")
        for asker in (OWNER, MANAGER):
            with pytest.raises(RankTooLow):
                give_role(TEA, asker, command, UNREMARKABLE, POLICY)
        with pytest.raises(OwnerNeeded):
            give_role(TEA, OFFICE, command, UNREMARKABLE, POLICY)
        with pytest.raises(OwnerNeeded):
            take_role(TEA, OFFICE, "tom", UNREMARKABLE)

    @pytest.mark.parametrize("role", ["", "owner", "Admin", "x" * 1000])
    def test_other_roles_are_unknown(self, role: str) -> None:
        for asker in (OWNER, OFFICE):
            with pytest.raises(UnknownRole):
                give_role(TEA, asker, SetRole("c", "jerry", role), UNREMARKABLE, POLICY)

    @pytest.mark.rule("4.7")
    def test_an_application_may_do_without(self) -> None:
        with pytest.raises(RolesDisabled) as caught:
            give_role(TEA, OWNER, SetRole("c", "jerry", "Manager"), UNREMARKABLE, Policy(roles_enabled=False))
        assert caught.value.code == 4325

    def test_only_members_have_one_but_for_chat_rooms_whose_occupants_come_and_go(self) -> None:
        command = SetRole("c", "butch", "Manager")
        for asker in (OWNER, OFFICE):
            with pytest.raises(MembershipRequired):
                give_role(TEA, asker, command, UNREMARKABLE, POLICY)
            assert give_role(ROOM, asker, command, UNREMARKABLE, POLICY).clients == ("butch",)
        with pytest.raises(InvalidLogin):
            give_role(ROOM, OWNER, SetRole("r", "x" * 65, "Manager"), UNREMARKABLE, POLICY)

    @pytest.mark.rule("4.3")
    def test_equals_do_not_govern_each_other(self) -> None:
        with pytest.raises(RankTooLow):
            give_role(TEA, MANAGER, SetRole("c", "spike", "Member"), MANAGED, POLICY)
        with pytest.raises(RankTooLow):
            give_role(TEA, MANAGER, SetRole("c", "jerry", "Member"), MANAGED, POLICY)
        assert give_role(TEA, MANAGER, SetRole("c", "spike", "Manager"), UNREMARKABLE, POLICY).clients == ("spike",)

    @pytest.mark.rule("4.4")
    def test_records_are_of_roles_that_were_given(self) -> None:
        standings = {"jerry": MANAGED, "spike": Standing(role=Role.MEMBER), "tyke": Standing(silenced=True)}
        assert [(one.client_id, one.role) for one in records("c", standings)] == [
            ("jerry", Role.MANAGER),
            ("spike", Role.MEMBER),
        ]

    @example(("ab", "c"), ("a", "bc"))
    @given(st.tuples(st.text(max_size=9), st.text(max_size=9)), st.tuples(st.text(max_size=9), st.text(max_size=9)))
    def test_a_record_is_named_after_its_conversation_and_client(
        self, one: tuple[str, str], other: tuple[str, str]
    ) -> None:
        assert len(bytes.fromhex(record_id(*one))) == 12
        assert (record_id(*one) == record_id(*other)) == (one == other)


class TestSilence:
    @pytest.mark.rule("4.8")
    def test_members_are_silenced_and_others_cannot_be(self) -> None:
        command = ChangeSilence("c", ("spike", "butch", "", "spike"), silenced=True)
        verdict = change_silence(TEA, MANAGER, command, {"jerry": MANAGED}, NOW)
        assert (verdict.clients, verdict.allowed) == (("spike",), ("spike",))
        assert verdict.standings == {"spike": Standing(silenced=True)}
        assert verdict.conversation == replace(TEA, regulated=True)
        assert [(one.client_ids, type(one.refusal)) for one in verdict.failed] == [
            (("",), InvalidLogin),
            (("butch",), MembershipRequired),
        ]

    def test_the_application_silences_before_they_come(self) -> None:
        verdict = change_silence(TEA, OFFICE, ChangeSilence("c", ("butch",), silenced=True), {}, NOW)
        assert verdict.clients == ("butch",)

    def test_lifting_needs_no_membership_and_keeps_the_rest(self) -> None:
        standings = {"butch": Standing(silenced=True, blocked=True)}
        verdict = change_silence(TEA, OWNER, ChangeSilence("c", ("butch", "spike"), silenced=False), standings, NOW)
        assert verdict.standings == {"butch": Standing(blocked=True)}
        assert (verdict.clients, verdict.allowed) == (("butch",), ("butch", "spike"))

    @pytest.mark.rule("4.3")
    @pytest.mark.parametrize("target", ["tom", "jerry", "spike"])
    @pytest.mark.parametrize("silenced", [True, False])
    def test_one_who_is_not_below_spoils_it_for_all(self, target: str, silenced: bool) -> None:
        standings = {"jerry": Standing(Role.MANAGER, silenced=True), "spike": MANAGED}
        command = ChangeSilence("c", ("tyke", target), silenced)
        with pytest.raises(RankTooLow) as caught:
            change_silence(TEA, MANAGER, command, standings, NOW)
        assert caught.value.code == 4320

    @pytest.mark.rule("2.12")
    @pytest.mark.parametrize(("conversation", "most"), [(TEA, LISTED_MAX), (ROOM, LISTED_IN_ROOM_MAX)])
    def test_there_are_so_many_at_most(self, conversation: Conversation, most: int) -> None:
        standings = {f"c{number}": Standing(silenced=True) for number in range(most - 1)}
        command = ChangeSilence("c", ("spike", "c0", "tyke"), silenced=True)
        verdict = change_silence(conversation, OWNER, command, standings, NOW)
        (failure,) = [one for one in verdict.failed if isinstance(one.refusal, SilencedListFull)]
        assert (failure.client_ids, failure.refusal.code) == (("tyke",), 4561)
        assert verdict.clients == ("spike",)
        lifted = change_silence(conversation, OWNER, ChangeSilence("c", ("c0",), silenced=False), standings, NOW)
        assert not lifted.failed

    def test_what_has_lapsed_goes_with_the_next_change(self) -> None:
        standings = {"tyke": Standing(silenced_until=NOW), "spike": Standing(silenced_until=Millis(NOW + 1))}
        verdict = change_silence(TEA, OWNER, ChangeSilence("c", ("spike",), silenced=True), standings, NOW)
        assert verdict.standings == {
            "tyke": UNREMARKABLE,
            "spike": Standing(silenced=True, silenced_until=Millis(NOW + 1)),
        }


class TestSilenceForATime:
    @pytest.mark.rule("2.14", "4.9")
    @pytest.mark.parametrize("kind", [Kind.NORMAL, Kind.CHAT_ROOM, Kind.SYSTEM])
    def test_it_ends_by_itself(self, kind: Kind) -> None:
        conversation = replace(TEA, kind=kind)
        verdict = silence_for_a_time(conversation, "spike", {}, 60, NOW)
        assert verdict.standings == {"spike": Standing(silenced_until=Millis(NOW + 60_000))}
        assert verdict.conversation.regulated
        assert silence_for_a_time(conversation, "spike", verdict.standings, 0, NOW).standings == {"spike": UNREMARKABLE}
        assert silence_for_a_time(conversation, "tyke", {}, 0, NOW).standings == {}

    @pytest.mark.rule("2.14")
    def test_it_has_a_day_at_most(self) -> None:
        silence_for_a_time(TEA, "spike", {}, 86_400, NOW)
        for ttl_seconds in (-1, 86_401):
            with pytest.raises(QueryFailed):
                silence_for_a_time(TEA, "spike", {}, ttl_seconds, NOW)
        with pytest.raises(InvalidLogin):
            silence_for_a_time(TEA, "", {}, 60, NOW)
        with pytest.raises(NormalConversationRequired):
            silence_for_a_time(replace(TEA, kind=Kind.TEMPORARY), "spike", {}, 60, NOW)


class TestBlocks:
    @pytest.mark.rule("4.10")
    def test_who_is_blocked_is_no_member_and_has_no_role(self) -> None:
        standings = {"spike": Standing(Role.MANAGER, silenced=True)}
        command = ChangeBlocks("c", ("spike", "butch", ""), blocked=True)
        verdict = change_blocks(TEA, OWNER, command, standings, POLICY, NOW)
        assert (verdict.clients, verdict.removed, verdict.allowed) == (
            ("spike", "butch"),
            ("spike",),
            ("spike", "butch"),
        )
        assert verdict.standings == {"spike": Standing(silenced=True, blocked=True), "butch": Standing(blocked=True)}
        assert verdict.conversation.members == ("tom", "jerry", "tyke")
        assert verdict.conversation.muted == ()
        assert verdict.conversation.updated_at > TEA.updated_at
        assert [(one.client_ids, type(one.refusal)) for one in verdict.failed] == [(("",), InvalidLogin)]

    def test_who_comes_back_is_not_a_member_by_that(self) -> None:
        gone = replace(TEA, members=("tom",))
        standings = {"spike": Standing(blocked=True)}
        verdict = change_blocks(gone, OWNER, ChangeBlocks("c", ("spike", "tyke"), False), standings, POLICY, NOW)
        assert (verdict.clients, verdict.allowed, verdict.removed) == (("spike",), ("spike", "tyke"), ())
        assert verdict.standings == {"spike": UNREMARKABLE}
        assert verdict.conversation == replace(gone, regulated=True)

    @pytest.mark.rule("4.3")
    @pytest.mark.parametrize("target", ["tom", "jerry", "spike"])
    def test_one_who_is_not_below_spoils_it_for_all(self, target: str) -> None:
        standings = {"jerry": MANAGED, "spike": MANAGED}
        for blocked in (True, False):
            with pytest.raises(RankTooLow):
                change_blocks(TEA, MANAGER, ChangeBlocks("c", ("tyke", target), blocked), standings, POLICY, NOW)

    @pytest.mark.rule("2.13")
    @pytest.mark.parametrize(("conversation", "most"), [(TEA, LISTED_MAX), (ROOM, LISTED_IN_ROOM_MAX)])
    def test_there_are_so_many_at_most(self, conversation: Conversation, most: int) -> None:
        standings = {f"c{number}": Standing(blocked=True) for number in range(most - 1)}
        command = ChangeBlocks("c", ("spike", "c0", "tyke"), blocked=True)
        verdict = change_blocks(conversation, OWNER, command, standings, POLICY, NOW)
        (failure,) = verdict.failed
        assert (failure.client_ids, type(failure.refusal), failure.refusal.code) == (("tyke",), BlacklistFull, 4543)
        assert (verdict.clients, verdict.allowed) == (("spike",), ("spike", "c0"))

    @pytest.mark.rule("4.7")
    def test_an_application_may_do_without(self) -> None:
        for blocked in (True, False):
            command = ChangeBlocks("c", ("tyke",), blocked)
            with pytest.raises(BlacklistDisabled) as caught:
                change_blocks(TEA, OWNER, command, {}, Policy(blacklist_enabled=False), NOW)
            assert caught.value.code == 4544


@pytest.mark.rule("4.3")
@given(st.sampled_from([*Role, None]), st.sampled_from([*Role, None]))
def test_nobody_outranks_one_who_outranks_it(one: Role | None, other: Role | None) -> None:
    asker, target = Asker("spike", member=True, standing=Standing(one)), Standing(other)
    back = Asker("tyke", member=True, standing=target)
    above = outranks(TEA, asker, "tyke", target)
    assert above == ((one or Role.MEMBER) > (other or Role.MEMBER))
    assert not (above and outranks(TEA, back, "spike", asker.standing))
    assert outranks(TEA, OFFICE, "tom", UNREMARKABLE)


class TestCutting:
    @pytest.mark.rule("4.14")
    @given(st.integers(0, 60), st.integers(1, 25) | st.none())
    def test_the_parts_make_the_whole(self, size: int, limit: int | None) -> None:
        listed = [str(number) for number in range(size)]
        found: list[str] = []
        cursor = ""
        while True:
            part, after = cut(listed, Page(cursor, limit))
            assert len(part) <= (limit or 10)
            found.extend(part)
            if not after:
                break
            assert int(after) == len(found) > int(cursor or 0)
            cursor = after
        assert found == listed

    @pytest.mark.parametrize(
        "page", [Page("x"), Page("-1"), Page("1.5"), Page("\u0661"), Page("9" * 5000), Page("", 0)]
    )
    def test_what_is_none_is_refused(self, page: Page) -> None:
        with pytest.raises(QueryFailed):
            cut(["a"], page)

    def test_past_the_end_there_is_nothing_and_a_page_is_never_endless(self) -> None:
        assert cut(["a"], Page("7")) == ((), "")
        listed = [str(number) for number in range(LIST_LIMIT_MAX + 1)]
        assert cut(listed, Page("", 2**31))[1] == str(LIST_LIMIT_MAX)
