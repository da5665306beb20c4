"""Settings from every source: each name lands in its field, the stronger source counts, and nothing unknown passes."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastim.core.errors import SettingsError
from fastim.core.hooks import CALLS
from fastim.settings import (
    Address,
    ApnsTeam,
    ApplicationSettings,
    Field,
    GivenApplication,
    Loaded,
    Settings,
    describe,
    load,
    reference,
    template,
)

FIELDS = {field.name: field for field in describe()}
SERVER = [name for name in FIELDS if name.split(".")[0] in Settings.__struct_fields__]
APPLICATION = [name for name in FIELDS if name.split(".")[0] in ApplicationSettings.__struct_fields__]
FILES = ["words.file", "push.apns", "push.fcm_account_file", "push.web_key_file", "hooks.python"]
"""Name files of the server's, which is nothing for whoever holds an application's keys."""
GATEWAYS = [name for name in APPLICATION if name.startswith("push.") and name.endswith("_url")]
"""Get a provider's keys, which may be the operator's."""
STORABLE = [name for name in APPLICATION if name not in (*FILES, *GATEWAYS)]
WITH_TLS = ("server.tcps", "server.https")
"""Cannot be set alone."""
SETTABLE = [name for name in FIELDS if name not in WITH_TLS]

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)
URLS = st.sampled_from(["https://a.example/im?a=b", "http://127.0.0.1:8080", "http://[::1]:3000/base", ""])
TEAMS = st.builds(ApnsTeam, *[TEXTS.filter(bool)] * 4)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "server.data": TEXTS.filter(bool),
    "server.tcp": st.sampled_from(["127.0.0.1:0", "[::1]:4567", "im.example:65535", "0.0.0.0:80", ""]),
    "server.http": st.sampled_from(["127.0.0.1:0", "[::]:4569", "[fe80::1%eth0]:80", "localhost:1"]),
    "http.trusted_proxies": st.sets(st.ip_addresses().map(str), max_size=3).map(tuple),
    "limits.message_bytes": st.integers(64, 65_536),
    "limits.frame_bytes": st.integers(5_120, 67_108_864),
    "push.static": st.dictionaries(TEXTS, TEXTS, max_size=3).map(json.dumps) | st.just(""),
    "push.apns": st.lists(TEAMS, max_size=2).map(tuple),
    "hooks.required": st.lists(st.sampled_from([*CALLS, "all"]), max_size=3).map(tuple),
    "hooks.key": st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
}


def values_of(field: Field) -> st.SearchStrategy[Any]:
    """Any value that the field can hold."""
    if field.name in VALUES:
        return VALUES[field.name]
    if "a URL" in field.kind:
        return URLS
    if "printable characters" in field.kind:
        return TEXTS.filter(str.isprintable)
    if isinstance(field.default, bool):
        return st.booleans()
    if isinstance(field.default, str):
        return st.sampled_from(field.kind.removeprefix("one of ").split(", ")) if "one of" in field.kind else TEXTS
    least, most = field.kind.replace("above 0", "from 0.001").split(" from ")[1].split(" to ")
    if "whole" in field.kind:
        return st.integers(int(least), int(most))
    return st.floats(float(least), float(most))


def as_toml(value: Any) -> str:
    """``value`` as TOML; JSON's form is TOML's for all that a setting can be, DEL excepted."""
    if isinstance(value, ApnsTeam):
        return "{" + ", ".join(f"{key} = {as_toml(one)}" for key, one in msgspec.structs.asdict(value).items()) + "}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(as_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def from_file(name: str, value: Any) -> Loaded:
    table, key = name.split(".")
    return load_text(f"[{table}]\n{key} = {as_toml(value)}\n")


def from_environment(name: str, value: Any) -> Loaded:
    return load(None, {variable(name): as_toml(value), "PATH": "/bin"}, [])


def from_override(name: str, value: Any) -> Loaded:
    return load(None, {}, [f"{name}={as_toml(value)}"])


def load_text(text: str, environ: dict[str, str] | None = None, overrides: tuple[str, ...] = ()) -> Loaded:
    with TemporaryDirectory() as directory:
        file = Path(directory, "fastim.toml")
        file.write_text(text, encoding="utf-8")
        return load(file, environ or {}, overrides)


def variable(name: str) -> str:
    return "FASTIM_" + name.upper().replace(".", "__")


def get(loaded: Loaded, name: str, stored: dict[str, Any] | None = None) -> Any:
    table, key = name.split(".")
    part: Any = loaded.settings if name in SERVER else loaded.for_application(stored or {})
    return getattr(getattr(part, table), key)


SOURCES = {"file": from_file, "environment": from_environment, "override": from_override}


# --- Every name from every source -------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES)
@given(data=st.data(), name=st.sampled_from(SETTABLE))
def test_every_name_lands_in_its_field_and_in_no_other(source: str, name: str, data: st.DataObject) -> None:
    value = data.draw(values_of(FIELDS[name]))
    loaded = SOURCES[source](name, value)
    assert get(loaded, name) == value
    untouched = load(None, {}, [])
    assert all(get(loaded, other) == get(untouched, other) for other in FIELDS if other != name)
    assert loaded.pinned == (frozenset() if source == "file" else {name})


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", SETTABLE)
def test_every_default_can_be_said_in_every_source(source: str, name: str) -> None:
    assert get(SOURCES[source](name, FIELDS[name].default), name) == FIELDS[name].default


@pytest.mark.parametrize("name", STORABLE)
def test_every_application_setting_can_be_stored(name: str) -> None:
    field = FIELDS[name]
    kinds: dict[type, Any] = {bool: False, str: "", tuple: ()}
    value = "any" if name == "words.separators" else kinds.get(type(field.default), 7)
    if value == 7 and " from " in field.kind:
        value = max(7, int(field.kind.split(" from ")[1].split(" to ")[0]))
    assert get(load(None, {}, []), name, {name: value}) == value


@pytest.mark.parametrize("name", FILES)
def test_what_names_files_of_the_server_cannot_be_stored(name: str) -> None:
    text = refusal(lambda: load(None, {}, []).for_application({name: FIELDS[name].default}))
    assert text == f"stored setting {name}: what names files of the server can only be set where it is started"


@pytest.mark.parametrize("name", GATEWAYS)
def test_where_keys_of_push_are_sent_cannot_be_stored(name: str) -> None:
    text = refusal(lambda: load(None, {}, []).for_application({name: "http://169.254.169.254/"}))
    assert (
        text == f"stored setting {name}: where a provider's keys are sent can only be set where the server is started"
    )


@pytest.mark.slow
@given(data=st.data(), name=st.sampled_from(SETTABLE))
def test_the_strongest_source_counts(name: str, data: st.DataObject) -> None:
    layers = ["file", *(["stored"] if name in STORABLE else []), "environment", "override"]
    told = {layer: data.draw(values_of(FIELDS[name]), layer) for layer in data.draw(st.sets(st.sampled_from(layers)))}
    table, key = name.split(".")
    loaded = load_text(
        f"[{table}]\n{key} = {as_toml(told['file'])}\n" if "file" in told else "",
        {variable(name): as_toml(told["environment"])} if "environment" in told else {},
        (f"{name}={as_toml(told['override'])}",) if "override" in told else (),
    )
    stored = {name: told["stored"]} if "stored" in told else {}
    strongest = next((layer for layer in reversed(layers) if layer in told), None)
    assert get(loaded, name, stored) == (FIELDS[name].default if strongest is None else told[strongest])
    assert (name in loaded.pinned) == (strongest in ("environment", "override"))


def test_the_names_that_the_contract_fixes_have_its_defaults() -> None:
    fixed: dict[str, Any] = {
        "server.tcp": "127.0.0.1:4567",
        "server.http": "127.0.0.1:4568",
        "server.data": "./data",
        "tls.certificate": "",
        "tls.key": "",
        "http.trusted_proxies": (),
        "limits.message_bytes": 5120,
        "limits.sends_per_minute": 600,
        "limits.history_per_minute": 600,
        "limits.operations_per_minute": 600,
        "limits.room_sends_per_second": 0,
        "messages.recall_enabled": True,
        "messages.modify_enabled": True,
        "conversations.roles_enabled": True,
        "conversations.blacklist_enabled": True,
        "security.require_signature": False,
        "words.enabled": False,
        "words.file": "",
        "words.two_enabled": False,
        "words.separators": "careful",
        "push.static": "",
        "push.webhook": "",
        "hooks.url": "",
        "hooks.key": "",
        "hooks.python": "",
        "delivery.room_window_bytes": 262_144,
    }
    assert {name: FIELDS[name].default for name in fixed} == fixed


@pytest.mark.rule("2.18")
@pytest.mark.parametrize("name", [field.name for field in describe() if field.name.startswith(("limits.", "rest."))])
def test_every_limit_can_be_set(name: str) -> None:
    table, _, key = name.partition(".")
    loaded = load(None, {}, [f"{name}=8192"])
    values = loaded.settings if table == "limits" else loaded.for_application({})
    assert getattr(getattr(values, table), key) == 8192


def test_settings_made_without_a_source_are_the_defaults() -> None:
    loaded = load(None, {}, [])
    assert (loaded.settings, loaded.for_application({}), loaded.pinned) == (
        Settings(),
        ApplicationSettings(),
        frozenset(),
    )


# --- Text that becomes a value ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("limits.message_bytes", "6000", 6000),
        ("limits.message_bytes", "6_000", 6000),
        ("limits.read_timeout_seconds", "0.25", 0.25),
        ("limits.read_timeout_seconds", "30", 30.0),
        ("messages.recall_enabled", "false", False),
        ("messages.recall_enabled", "False", False),
        ("messages.recall_enabled", "0", False),
        ("hooks.key", "1234", "1234"),
        ("hooks.key", "true", "true"),
        ("hooks.key", '"quoted"', "quoted"),
        ("hooks.key", "a=b=c", "a=b=c"),
        ("server.data", "/var/lib/im", "/var/lib/im"),
        ("push.static", '{"alert":"New message"}', '{"alert":"New message"}'),
        ("http.trusted_proxies", "10.0.0.0/8, ::1", ("10.0.0.0/8", "::1")),
        ("http.trusted_proxies", '["10.0.0.0/8"]', ("10.0.0.0/8",)),
        ("http.trusted_proxies", "", ()),
        ("words.file", "", ""),
    ],
)
def test_text_is_read_as_toml_when_that_fits_and_as_it_stands_otherwise(name: str, text: str, value: Any) -> None:
    assert get(load(None, {}, [f"{name}={text}"]), name) == value
    assert get(load(None, {variable(name): text}, []), name) == value


def test_a_value_cannot_bring_a_second_setting_along() -> None:
    assert get(load(None, {"FASTIM_SERVER__DATA": '"a"\nhttp = "b"'}, []), "server.data") == '"a"\nhttp = "b"'


def test_flags_are_taken_as_they_stand_and_are_pinned() -> None:
    loaded = load(None, {}, ['--data="x"', "--tcp=[::1]:0", "--http=127.0.0.1:0"])
    assert (loaded.settings.server.data, loaded.settings.server.tcp) == ('"x"', "[::1]:0")
    assert loaded.pinned == {"server.data", "server.tcp", "server.http"}


def test_of_two_for_one_name_the_later_one_counts() -> None:
    overrides = ["--data=a", "server.data=b", "server.data=c"]
    assert load(None, {}, overrides).settings.server.data == "c"


def test_variables_that_are_no_settings_are_left_alone() -> None:
    environ = {
        "FASTIM_BUILD": "checked",
        "FASTIM_CONFIG": "x",
        "FASTIM_TEST_PORT": "1",
        "MY_FASTIM__X": "1",
        "HOME": "/",
    }
    assert load(None, environ, []).pinned == frozenset()


def test_a_pinned_application_setting_cannot_be_changed_by_what_is_stored() -> None:
    loaded = load_text("[messages]\nunread_cap = 1\nunread_conversations = 2\n", {"FASTIM_MESSAGES__UNREAD_CAP": "100"})
    messages = loaded.for_application({"messages.unread_cap": 5, "messages.unread_conversations": 6}).messages
    assert (messages.unread_cap, messages.unread_conversations) == (100, 6)


def test_what_one_application_stores_does_not_reach_another() -> None:
    loaded = load(None, {}, [])
    assert loaded.for_application({"messages.recall_enabled": False}).messages.recall_enabled is False
    assert loaded.for_application({}).messages.recall_enabled is True


# --- What is refused --------------------------------------------------------------------------------------------------


def refusal(action: Callable[[], object]) -> str:
    with pytest.raises(SettingsError) as caught:
        action()
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 400
    return text


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("limits.mesage_bytes", "limits.message_bytes"),
        ("limit.message_bytes", "limits.message_bytes"),
        ("messages.message_bytes", "limits.message_bytes"),
        ("limits.Message_Bytes", "limits.message_bytes"),
        ("message.recall", "messages.recall_enabled"),
        ("hook.url", "hooks.url"),
        ("trusted_proxies", "http.trusted_proxies"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_right_one(name: str, nearest: str) -> None:
    text = refusal(lambda: load(None, {}, [f"{name}=1"]))
    assert text == f"--set {name}: no such setting; the nearest is {nearest}"


def test_an_unknown_name_in_the_environment_is_refused_in_its_spelling() -> None:
    text = refusal(lambda: load(None, {"FASTIM_LIMITS__MESAGE_BYTES": "1"}, []))
    assert text == "FASTIM_LIMITS__MESAGE_BYTES: no such setting; the nearest is FASTIM_LIMITS__MESSAGE_BYTES"
    text = refusal(lambda: load(None, {"FASTIM_limits__message_bytes": "1"}, []))
    assert text.endswith("the nearest is FASTIM_LIMITS__MESSAGE_BYTES")


@pytest.mark.parametrize(
    ("toml", "says"),
    [
        ("[limits]\nmesage_bytes = 1", "limits.mesage_bytes: no such setting; the nearest is limits.message_bytes"),
        ("[limts]\n", "[limts]: no such table; the nearest is [limits]"),
        ("limits = 5", "limits: settings live in tables"),
        ("[[limits]]\nmessage_bytes = 100", "limits: settings live in tables"),
        ("[limits.message_bytes]\nx = 1", "limits.message_bytes: {'x': 1} does not fit"),
        ("[limits]\nmessage_bytes = '100'", "limits.message_bytes: '100' does not fit; give a whole number of bytes"),
        ("[limits]\nmessage_bytes = true", "limits.message_bytes: True does not fit"),
        ("[limits]\nlogin_seconds = nan", "limits.login_seconds: nan does not fit"),
        ("[limits]\nlogin_seconds = inf", "limits.login_seconds: inf does not fit"),
        ("[messages]\nrecall_enabled = 1", "messages.recall_enabled: 1 does not fit; give true or false"),
        ("[http]\ntrusted_proxies = '10.0.0.0/8'", "http.trusted_proxies: '10.0.0.0/8' does not fit; give a list"),
        ("[server]\ndata = 1979-05-27", "server.data: datetime.date(1979, 5, 27) does not fit"),
        ("[server\n", "is not TOML: "),
        ("a = " + "[" * 5000, "is not TOML: "),
        ("a = " + "9" * 5000, "is not TOML: "),
    ],
)
def test_a_file_that_says_what_is_not_a_setting_is_refused_by_file_and_key(toml: str, says: str) -> None:
    assert f"fastim.toml: {says}" in refusal(lambda: load_text(toml))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    assert (
        refusal(lambda: load(tmp_path / "none", {}, []))
        == f"{tmp_path}/none: cannot be read: No such file or directory"
    )
    assert refusal(lambda: load(tmp_path, {}, [])).endswith("cannot be read: Is a directory")
    (tmp_path / "latin").write_bytes(b"[server]\ndata = '\xe9'")
    assert refusal(lambda: load(tmp_path / "latin", {}, [])).endswith("is not UTF-8 at byte 17")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("limits.message_bytes=many", "'many' does not fit; give a whole number of bytes from 64 to 16777216"),
        ("limits.message_bytes=-1", "'-1' does not fit"),
        ("limits.message_bytes=5.5", "'5.5' does not fit"),
        ("limits.message_bytes=", "'' does not fit"),
        (f"limits.message_bytes={'9' * 5000}", "9... does not fit"),
        ("messages.recall_enabled=perhaps", "'perhaps' does not fit; give true or false"),
        ("log.level=loud", "'loud' does not fit; give one of debug, info, warning, error"),
        ("server.data=", "'' does not fit; give a path"),
        ("http.trusted_proxies=10.0.0.1/8", "'10.0.0.1/8' does not fit; give a list of networks"),
        ("http.trusted_proxies=proxy.example", "'proxy.example' does not fit; give a list of networks"),
        ("limits.message_bytes", "write it as TABLE.KEY=VALUE"),
        ("", "write it as TABLE.KEY=VALUE"),
        ("=1", "no such setting"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_what_does(override: str, says: str) -> None:
    assert says in refusal(lambda: load(None, {}, [override]))


@pytest.mark.parametrize("name", ["hooks.url", "push.webhook", "users.verify_url"])
@pytest.mark.parametrize("url", ["ftp://a", "https://", "hooks.example", "http://a:99999", "http://[::1", "http://a b"])
def test_an_address_that_cannot_be_called_is_refused_without_showing_it(name: str, url: str) -> None:
    text = refusal(lambda: load(None, {}, [f"{name}={url}"]))
    assert text == f"--set {name}: the value does not fit; give a URL that starts with http:// or https://, or empty"


@pytest.mark.parametrize("text", ["{", "[]", "1", '"alert"', "{}{}", "[" * 100_000])
def test_static_push_content_has_to_be_a_json_object(text: str) -> None:
    assert "give a JSON object as text" in refusal(lambda: load(None, {}, [f"push.static={text}"]))


def test_a_hook_key_that_no_header_can_carry_is_refused() -> None:
    assert "give printable ASCII" in refusal(lambda: load(None, {"FASTIM_HOOKS__KEY": "a\r\nX-Other: b"}, []))


@pytest.mark.parametrize(
    "text",
    [
        "4567",
        ":4567",
        "localhost",
        "localhost:",
        "a:65536",
        "a:-1",
        "::1:80",
        "[::1]",
        "[x]:1",
        "a b:1",
        "a:1 ",
        "a:１",
    ],
)
def test_what_is_not_host_and_port_is_refused(text: str) -> None:
    assert refusal(lambda: load(None, {}, [f"--tcp={text}"])).startswith(
        f"--tcp: {text!r} does not fit; give HOST:PORT"
    )
    with pytest.raises(ValueError):
        Address.parse(text)


@pytest.mark.slow
@given(st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True) | st.ip_addresses().map(str), st.integers(0, 65535))
def test_an_address_reads_back_as_it_is_written(host: str, port: int) -> None:
    assert Address.parse(str(Address(host, port))) == Address(host, port)


@pytest.mark.parametrize("name", WITH_TLS)
def test_a_tls_listener_needs_a_certificate_and_an_empty_one_is_none(name: str) -> None:
    said = {source: refusal(lambda source=source: SOURCES[source](name, "127.0.0.1:0")) for source in SOURCES}  # type: ignore[misc]
    assert all(text.endswith(": there is no TLS without tls.certificate and tls.key") for text in said.values())
    assert f"fastim.toml: {name}:" in said["file"]
    assert said["environment"].startswith(variable(name))
    assert said["override"].startswith(f"--set {name}:")
    assert all(get(SOURCES[source](name, ""), name) == "" for source in SOURCES)
    with_certificate = load(None, {}, ["tls.certificate=both.pem", f"{name}=127.0.0.1:0"])
    assert get(with_certificate, name) == "127.0.0.1:0"


@pytest.mark.parametrize("name", WITH_TLS)
def test_a_tls_listener_may_be_the_only_one(name: str) -> None:
    load(None, {}, ["--tcp=", "--http=", "tls.certificate=both.pem", f"{name}=127.0.0.1:0"])


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["--tcp=", "--http="], "server.tcp and server.http are both empty"),
        (["--tcp=a:1", "--http=a:1"], "server.tcp and server.http are both a:1"),
        (["--tcp=a:1", "--https=a:1"], "server.tcp and server.https are both a:1"),
        (["--tcps=a:1", "--https=a:1", "tls.certificate=c"], "server.tcps and server.https are both a:1"),
        (["limits.message_bytes=2000", "limits.frame_bytes=1999"], "limits.frame_bytes (1999) is less than"),
    ],
)
def test_settings_that_exclude_each_other_are_refused(overrides: list[str], says: str) -> None:
    assert says in refusal(lambda: load(None, {}, overrides))


def test_two_listeners_may_both_leave_the_port_to_the_kernel() -> None:
    assert load(None, {}, ["--tcp=127.0.0.1:0", "--http=127.0.0.1:0"]).settings.server.http == "127.0.0.1:0"


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        ({"messages.recal_enabled": True}, "no such setting; the nearest is messages.recall_enabled"),
        ({"limits.message_bytes": 6000}, "it is the server's"),
        ({"messages.recall_enabled": "false"}, "'false' does not fit; give true or false"),
        ({"messages.unread_cap": None}, "None does not fit"),
        ({"": 1}, "no such setting"),
    ],
)
def test_what_an_application_cannot_store_is_refused(stored: dict[str, Any], says: str) -> None:
    assert says in refusal(lambda: load(None, {}, []).for_application(stored))


@given(st.lists(st.one_of(st.text(), st.builds("{}={}".format, st.sampled_from(list(FIELDS)), st.text())), max_size=3))
def test_no_override_does_anything_but_load_or_be_refused(overrides: list[str]) -> None:
    try:
        load(None, {}, overrides)
    except SettingsError as error:
        refused = str(error)
    else:
        refused = ""
    assert refused.isprintable()


@pytest.mark.slow
@given(
    st.text()
    | st.builds("[{}]\n{} = {}".format, st.sampled_from(["limits", "http", "push", "x"]), st.text(), st.text())
)
def test_no_file_does_anything_but_load_or_be_refused(text: str) -> None:
    try:
        load_text(text)
    except SettingsError as error:
        refused = str(error)
    else:
        refused = ""
    assert refused.isprintable()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("", "k", "m"), "--app-id"),
        (("a" * 65, "k", "m"), "--app-id"),
        (("a/b", "k", "m"), "--app-id"),
        (("app", "", "m"), "--app-key"),
        (("app", "with blank", "m"), "--app-key"),
        (("app", "k", "master,key"), "--master-key"),
        (("app", "k", "clé"), "--master-key"),
        (("app", "same", "same"), "--master-key: give another than --app-key"),
    ],
)
def test_an_application_that_no_client_could_use_is_refused(words: tuple[str, str, str], says: str) -> None:
    assert refusal(lambda: GivenApplication(*words)).startswith(says)


def test_an_application_may_be_named_as_leancloud_names_them() -> None:
    given = GivenApplication("5ZSHcZcLwbJGuJzS9EBEjrSo-gzGzoHsz", "UDJ/5+abc=:!", "Gd23_#~")
    assert given.id == "5ZSHcZcLwbJGuJzS9EBEjrSo-gzGzoHsz"


# --- What is made from them -------------------------------------------------------------------------------------------


def test_the_settings_page_is_current() -> None:
    page = Path(__file__).parents[1] / "docs" / "settings.md"
    assert page.read_text(encoding="utf-8") == reference(), "write fastim.settings.reference() to docs/settings.md"


def test_every_setting_has_a_line_and_a_unit_where_it_is_a_quantity() -> None:
    for field in describe():
        assert field.line
        assert "|" not in field.line + field.kind
        assert (field.line + field.kind).isprintable()
        for unit in ("bytes", "seconds", "milliseconds", "microseconds", "days", "per_minute", "per_second"):
            if field.name.endswith(f"_{unit}"):
                assert unit.replace("_", " ") in field.kind


def test_the_template_changes_nothing_as_it_is() -> None:
    assert load_text(template()) == load(None, {}, [])


def test_the_template_with_every_setting_uncommented_says_the_defaults() -> None:
    lines = [line if line.startswith("# ") else line.removeprefix("#") for line in template().splitlines()]
    assert load_text("\n".join(lines)).settings == Settings()
    assert load_text("\n".join(lines)).for_application({}) == ApplicationSettings()
    tables = tomllib.loads("\n".join(lines))
    assert [f"{table}.{key}" for table, keys in tables.items() for key in keys] == list(FIELDS)


def test_settings_cannot_be_changed_and_refuse_unknown_keys() -> None:
    with pytest.raises(AttributeError):
        Settings().limits.message_bytes = 1  # type: ignore[misc]
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"limits": {"mesage_bytes": 1}}, Settings)
