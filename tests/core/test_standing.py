import pytest

from fastim.core.standing import UNREMARKABLE, Role, Standing, departed, lapsed
from fastim.core.units import Millis


@pytest.mark.rule("4.1")
def test_roles_are_spelled_as_sdks_do() -> None:
    assert [role.wire_name for role in sorted(Role, reverse=True)] == ["Owner", "Manager", "Member"]
    assert all(Role.named(role.wire_name) is role for role in Role)
    for unknown in ("manager", "MANAGER", "Admin", ""):
        assert Role.named(unknown) is None


def test_who_leaves_loses_its_role_and_stays_silenced_and_blocked() -> None:
    standing = Standing(Role.MANAGER, silenced=True, silenced_until=Millis(9), blocked=True, muted=True)
    assert departed(standing) == Standing(None, silenced=True, silenced_until=Millis(9), blocked=True)
    assert departed(Standing(Role.MEMBER)) == UNREMARKABLE


def test_a_silence_that_has_ended_leaves_nothing_behind() -> None:
    standing = Standing(silenced_until=Millis(9))
    assert lapsed(standing, Millis(8)) is standing
    assert lapsed(standing, Millis(9)) == UNREMARKABLE
    assert lapsed(Standing(silenced=True), Millis(9)) == Standing(silenced=True)
