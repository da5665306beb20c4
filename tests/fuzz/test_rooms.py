"""Guests of chat rooms who come, go, stall and vanish: everybody hears what it is owed, and nothing stays behind."""

import gc
from collections import Counter
from pathlib import Path

import pytest

from fastim.core.session import Session
from fastim.runtime.connection import Connection
from fastim.runtime.presence import Attached
from fastim.runtime.room_logs import Room, Seat
from tests.authority import Authority
from tests.fuzz import effort
from tests.fuzz.house import house
from tests.fuzz.memory import Memory
from tests.fuzz.village import SETTINGS, Village

STEPS_PER_EPOCH, STEPS_PER_PHASE = 600, 30
STEPS = max(200, effort.FRAMES // 10)
GUESTS = 10
OURS = (Connection, Attached, Session, Room, Seat)

pytestmark = pytest.mark.anyio


@pytest.mark.usefixtures("_apart")
async def test_everybody_hears_what_it_is_owed_whoever_comes_goes_stalls_or_vanishes(tmp_path: Path) -> None:
    did, memory = Counter[str](), Memory()
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    secured = (f"tls.certificate={pair.certificate}", f"tls.key={pair.key}")
    epochs = range(-(-STEPS // STEPS_PER_EPOCH)) if effort.ONLY is None else (effort.ONLY,)
    for epoch in epochs:
        async with house(tmp_path / str(epoch), *SETTINGS, *secured) as opened:
            village = Village(opened, effort.dice("rooms", epoch))
            try:
                await village.build(authority, GUESTS)
                for step in range(min(STEPS_PER_EPOCH, STEPS)):
                    await village.step()
                    if step % STEPS_PER_PHASE == STEPS_PER_PHASE - 1:
                        await village.settle()
                await village.settle()
                await village.leave()
                await opened.is_empty()
            except BaseException as error:
                error.add_note(effort.rerun(epoch))
                raise
            assert len(village.tenant.logs) == 0
            assert village.ledger_is_balanced()
            did += village.did
        del village
        gc.collect()
        assert not [one for one in gc.get_objects() if isinstance(one, OURS)]
        memory.look()
    memory.was_flat()
    print(f"{STEPS} steps: {dict(did)}; bytes held: {memory.looks}")
