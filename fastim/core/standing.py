"""Standing: what sets one client apart from the others in one conversation."""

from enum import IntEnum

from msgspec import Struct
from msgspec.structs import replace

from fastim.core.units import Millis


class Role(IntEnum):
    """Who outranks whom. Source: semantics, rule 4.1."""

    MEMBER = 1
    MANAGER = 2
    OWNER = 3

    @property
    def wire_name(self) -> str:
        """As SDKs and REST spell it."""
        return self.name.capitalize()

    @classmethod
    def named(cls, name: str) -> "Role | None":
        """The role that SDKs and REST call ``name``, or ``None``."""
        return _NAMED.get(name)


_NAMED = {role.wire_name: role for role in Role}


class Standing(Struct, frozen=True, array_like=True):
    """One client's standing in one conversation; most clients have none, which is ``Standing()``.

    Attributes:
        role: As it was given explicitly, or ``None``. The creator is the owner without that.
        silenced: It may not send until that is lifted.
        silenced_until: It may not send until then; 0 for no such time.
        blocked: It may not be a member until that is lifted.
        muted: A subscriber of a service conversation, which has too many for a list, wants no offline push from it.
    """

    role: Role | None = None
    silenced: bool = False
    silenced_until: Millis = Millis(0)
    blocked: bool = False
    muted: bool = False


UNREMARKABLE = Standing()


def departed(standing: Standing) -> Standing:
    """What is left of ``standing`` when its client is a member no longer.

    Its role and its wishes go, or whoever was thrown out could join again as a manager. What it may not do stays, or
    leaving and joining would lift it.
    """
    return replace(standing, role=None, muted=False)


def lapsed(standing: Standing, now: Millis) -> Standing:
    """``standing`` without a silence that has ended by itself."""
    return replace(standing, silenced_until=Millis(0)) if 0 < standing.silenced_until <= now else standing
