"""Both doors of a real server under fire, while two clients go on chatting."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastim.runtime.dispatch import USE_CASES
from tests.fuzz import effort
from tests.fuzz.attack import Attack
from tests.fuzz.bodies import Names
from tests.fuzz.house import House, house
from tests.fuzz.memory import Memory

AT_ONCE = 8
EPOCH_FRAMES = 10_000
"""After so many frames the server is stopped and another one started: its store would grow for ever."""

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("door", ["tcp", "websocket"])
async def test_a_door_under_fire_answers_what_it_owes_and_serves_others_meanwhile(door: str, tmp_path: Path) -> None:
    numbers = iter(effort.numbers(1))  # more than there will be connections: each makes some 20 frames
    made, counts = 0, Counter[str]()
    memory = Memory()
    while made < effort.FRAMES:
        frames = min(EPOCH_FRAMES, effort.FRAMES - made)
        async with house(tmp_path / str(len(memory.looks))) as opened:
            names = await opened.names()
            made += await besiege(opened, door, numbers, names, frames)
            opened.was_prompt()
            counts += opened.counts
        memory.look()
        if effort.ONLY is not None:
            break
    memory.was_flat()
    print(f"{made} frames; commands, and refusals by code: {dict(counts)}; bytes held: {memory.looks}")
    if effort.FRAMES >= 2_000 and effort.ONLY is None:
        reached = sum(counts[command.__name__] for command in USE_CASES)
        refused = sum(number for name, number in counts.items() if name.isdigit())
        assert all(counts[command.__name__] for command in USE_CASES)
        assert reached > made / 4
        assert refused < made * 3 / 4


async def besiege(opened: House, door: str, numbers: Iterator[int], names: Names, frames: int) -> int:
    """Attack until ``frames`` frames were made; returns how many."""
    stop = asyncio.Event()
    chat = asyncio.create_task(opened.chat(stop))
    attacks: list[Attack] = []

    async def attack_on() -> None:
        while sum(attack.made for attack in attacks) < frames and (number := next(numbers, None)) is not None:
            attack = Attack(door, number, names.copy(), opened.node.gateway.limits.frame_bytes)
            attacks.append(attack)
            await attack.run(opened.address(door))

    try:
        async with asyncio.TaskGroup() as attackers:
            for _ in range(AT_ONCE):
                attackers.create_task(attack_on())
    finally:
        stop.set()
        await chat
    assert sum(attack.cut for attack in attacks) <= len(attacks) / 10
    return sum(attack.made for attack in attacks)
