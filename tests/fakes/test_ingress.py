"""The contract of the door of chat rooms, for the real one and for the fake."""

from collections.abc import Callable

import pytest

from fastim.core.errors import SendQuotaExceeded
from fastim.ports.ingress import Ingress
from fastim.runtime.ingress import Governor, LocalIngress
from fastim.runtime.limits import LimitCounters
from fastim.settings import Limits
from tests.fakes.ingress import CountingIngress

Make = Callable[[int], Ingress]


def local(most: int) -> LocalIngress:
    """The real one, while a moment lasts."""
    return LocalIngress(Limits(room_sends_per_second=most), LimitCounters(), Governor(250), lambda: 1_000.0)


def counting(most: int) -> CountingIngress:
    return CountingIngress(most or None)


pytestmark = pytest.mark.parametrize("make", [local, counting])


def test_a_room_takes_so_many_of_each_priority(make: Make) -> None:
    ingress = make(2)
    for room in ("lobby", "kitchen"):
        for priority in (1, 2, 3):
            ingress.admit(room, priority)
            ingress.admit(room, priority)
            for _ in range(2):
                with pytest.raises(SendQuotaExceeded) as refused:
                    ingress.admit(room, priority)
                assert refused.value.detail
        assert ingress.refused(room) == {"rate": (2, 2, 2), "governor": (0, 0, 0)}
    assert ingress.refused("cellar") == {"rate": (0, 0, 0), "governor": (0, 0, 0)}


def test_without_a_limit_it_takes_all(make: Make) -> None:
    ingress = make(0)
    for _ in range(100):
        ingress.admit("lobby", 2)
    assert ingress.refused("lobby")["rate"] == (0, 0, 0)
