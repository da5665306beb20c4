"""Profiles: what is refused, with what was most likely meant, and how a command line changes one."""

import re
from pathlib import Path

import pytest

from fastim.bench import profile
from fastim.core.errors import SettingsError

ONE = '[parts.one]\nkind = "rooms"\n'
TWO = ONE + '[parts.two]\nkind = "idle"\n'
SCENARIOS = (
    *("group", "history", "idle", "join-storm", "many-rooms"),
    *("mixed", "one-to-one", "reconnect-storm", "room", "slow-readers"),
)


def test_every_scenario_is_a_profile_with_a_purpose() -> None:
    texts = profile.built_in()
    assert tuple(texts) == SCENARIOS
    for name, text in texts.items():
        assert profile.parse(text, name).about
        assert profile.text_of(name) == text


def test_a_bare_run_takes_less_than_a_minute() -> None:
    made = profile.parse(profile.text_of(profile.DEFAULT), "default")
    assert made.warm_up_seconds + made.seconds + made.drain_seconds < 40


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("secnds = 1\n" + ONE, "mine.toml: secnds: no such key; the nearest is seconds"),
        ("seconds = 'x'\n" + ONE, "mine.toml.seconds: does not fit; expected `float`, got `str`"),
        ("seconds = 0\n" + ONE, "mine.toml.seconds: does not fit; expected `float` > 0"),
        ("transport = 'upd'\n" + ONE, "mine.toml.transport: does not fit; invalid enum value 'upd'"),
        ("", "mine.toml: there is no part; write [parts.NAME] with a kind, one of rooms, conversations, idle, history"),
        ("parts = 3", "mine.toml: there is no part; write [parts.NAME] with a kind, one of "),
        ("[parts]\none = 3", "mine.toml: parts.one: write it as a table, [parts.one]"),
        ("[parts.one]", "mine.toml: parts.one: has no kind; give one of rooms, "),
        ("[parts.one]\nkind = 'room'", "mine.toml: parts.one.kind: no such kind; the nearest is rooms"),
        ("[parts.one]\nkind = 3", "mine.toml: parts.one.kind: no such kind; the nearest is "),
        (ONE + "reders = 3", "mine.toml: parts.one: reders: no such key; the nearest is readers"),
        (ONE + "readers = 0", "mine.toml: parts.one.readers: does not fit; expected `int` >= 1"),
        (ONE + "slow_percent = 101", "mine.toml: parts.one.slow_percent: does not fit; expected `float` <= 100"),
        ("parts", "mine.toml: is not TOML: "),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_nearest_right_key(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(says)}"):
        profile.parse(text, "mine.toml")


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("seconds", "--set seconds: write it as KEY=VALUE or PART.KEY=VALUE"),
        ("readers=3", "--set readers: no such key; the nearest is one.readers"),
        ("secnds=3", "--set secnds: no such key; the nearest is seconds"),
        ("parts=3", "--set parts: no such key; the nearest is "),
        ("onn.readers=3", "--set onn.readers: no such part; the nearest is one"),
        ("one.reders=3", "--set one: reders: no such key; the nearest is readers"),
        ("two.clients=x", "mine.toml: parts.two.clients: does not fit; expected `int`, got `str`"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_the_same_way(setting: str, says: str) -> None:
    with pytest.raises(SettingsError, match=f"^{re.escape(says)}"):
        profile.parse(TWO, "mine.toml", [setting])


def test_settings_and_flags_are_stronger_than_the_text_and_go_where_they_fit() -> None:
    made = profile.parse(TWO, "mine", ["one.readers=5", "two.clients=7", "about=x"], {"seconds": "3", "rate": "9"})
    assert made.parts == {"one": profile.Rooms(readers=5, rate=9), "two": profile.Idle(clients=7)}
    assert (made.seconds, made.about) == (3, "x")


def test_a_flag_that_fits_no_part_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^--body-bytes: no part of this scenario has that; one of kind rooms or "):
        profile.parse('[parts.two]\nkind = "idle"\n', "mine", flags={"body_bytes": "3"})


def test_a_scenario_that_does_not_exist_is_refused_with_the_nearest() -> None:
    with pytest.raises(SettingsError, match=r"^romo: no such scenario; the nearest is room$"):
        profile.text_of("romo")


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file or directory"):
        profile.read(tmp_path / "none.toml")
    (tmp_path / "odd.toml").write_bytes(b"\xff")
    with pytest.raises(SettingsError, match="cannot be read: it is not UTF-8"):
        profile.read(tmp_path / "odd.toml")


def test_the_examples_of_the_documentation_are_profiles_and_scenarios_that_exist() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bench.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert set(profile.parse(example, "docs/bench.md").parts) == {"stage", "chats"}
    table = page.partition("## Scenarios")[2].partition("###")[0]
    assert set(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == set(SCENARIOS)


def test_the_documentation_names_every_key_and_its_default() -> None:
    page = (Path(__file__).parents[2] / "docs" / "bench.md").read_text(encoding="utf-8")
    rows = page.partition("| kind | key | default | |\n|---|---|---|---|\n")[2].partition("\n\n")[0].splitlines()
    told: dict[str, dict[str, str]] = {}
    kind = ""
    for row in rows:
        first, keys, defaults, _ = (cell.strip() for cell in row.strip("|").split("|", 3))
        kind = first.strip("`") or kind
        names = [name.strip("` ") for name in keys.split(",")]
        told.setdefault(kind, {}).update(zip(names, defaults.split(", "), strict=True))
    real = {
        kind: {
            name: f"{default:g}" if isinstance(default, float) else str(default).lower()
            for name, default in zip(part.__struct_fields__, part.__struct_defaults__, strict=True)
        }
        for kind, part in profile.KINDS.items()
    }
    assert told == real
