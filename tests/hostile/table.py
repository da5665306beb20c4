"""The hostile requests, one row each: who sends what, and what it is answered.

Source of the answers: wire protocol, open, signatures, error codes; REST reference, authentication and format.
"""

from collections.abc import Awaitable, Callable
from enum import Enum, auto
from typing import Any, NamedTuple

from fastim.wire import messages2_pb2 as pb
from tests.end_to_end.raw import Wire
from tests.hostile.stage import HOUR, Fields, Stage, digest

LOGIN = "{app}:{me}::{t}:{n}"
START = "{app}:{me}:{who}:{t}:{n}"
CHANGE = "{app}:{me}:{cid}:{who}:{t}:{n}:{action}"


class Server(Enum):
    """What the application requires."""

    STRICT = auto()
    """Signatures."""
    LENIENT = auto()
    """None."""


class Closed(NamedTuple):
    """The connection ends with this code."""

    code: int


Answer = int | Closed
"""A code in an error, or in an ack for a message; or the end."""


class Mallory:
    """Who sends it.

    Attributes:
        me: The client id.
        line: The connection; a session is open on it unless the row says that there is none.
    """

    def __init__(self, stage: Stage, me: str, line: Wire) -> None:
        self.stage = stage
        self.me = me
        self.line = line

    def open(self, client_id: str | None = None, *, app_id: str | None = None, **session: Any) -> Fields:
        """Ask for a session; as ``me`` unless told otherwise."""
        fields: Fields = {"cmd": pb.session, "op": pb.open, "sessionMessage": pb.SessionCommand(**session)}
        fields["peerId"] = self.me if client_id is None else client_id
        fields["appId"] = self.stage.server.app_id if app_id is None else app_id
        return fields

    def signed(self, form: str = LOGIN, **changes: Any) -> Fields:
        """A signature of the application's server, as it should be for ``me`` but for ``changes``."""
        return self.stage.signer.sign(form, **{"me": self.me, **changes})

    def login(self, **changes: Any) -> Fields:
        """Ask for a session with a signature."""
        return self.open(**self.signed(**changes))

    def start(self, *members: str, **fields: Any) -> Fields:
        return conv(pb.start, m=members, **fields)

    def invite(self, *members: str, cid: str | None = None, **fields: Any) -> Fields:
        return conv(pb.add, cid=self.stage.cid if cid is None else cid, m=members, **fields)

    def remove(self, *members: str, cid: str | None = None, **fields: Any) -> Fields:
        return conv(pb.remove, cid=self.stage.cid if cid is None else cid, m=members, **fields)

    def change(self, who: str, action: str, **changes: Any) -> Fields:
        """A signature for a change of members."""
        given = {"cid": self.stage.cid, "who": who, "action": action, **changes}
        return self.signed(**{"form": CHANGE, **given})


Build = Callable[[Mallory], Fields | bytes | Awaitable[Fields | bytes]]


class Row(NamedTuple):
    """A request.

    Attributes:
        build: The fields of a command, or the bytes of a frame.
        session: Whether it is sent from a session of Mallory's.
        framed: Whether bytes are a frame's body, else they are sent as they are.
        as_tom: Whether that session is tom's own, come by in whatever way.
    """

    name: str
    server: Server
    build: Build
    answer: Answer
    session: bool = False
    framed: bool = True
    as_tom: bool = False


def conv(op: pb.OpType, **fields: Any) -> Fields:
    return {"cmd": pb.conv, "op": op, "convMessage": pb.ConvCommand(**fields)}


def direct(cid: str, **fields: Any) -> Fields:
    return {"cmd": pb.direct, "directMessage": pb.DirectCommand(**{"cid": cid, "msg": b"hi", **fields})}


def logs(cid: str, **fields: Any) -> Fields:
    return {"cmd": pb.logs, "logsMessage": pb.LogsCommand(cid=cid, **fields)}


def where(text: str) -> Fields:
    return conv(pb.query, where=pb.JsonObjectMessage(data=text))


def update(cid: str, text: str) -> Fields:
    return conv(pb.update, cid=cid, attr=pb.JsonObjectMessage(data=text))


# --- Logging in where signatures are required -------------------------------------------------------------------------


def login(name: str, build: Build, answer: Answer = 4102) -> Row:
    return Row(f"log in with {name}", Server.STRICT, build, answer)


async def refresh_with_a_used_one(mallory: Mallory) -> Fields:
    signature = mallory.signed()
    refresh = {"cmd": pb.session, "op": pb.refresh, "sessionMessage": pb.SessionCommand(**signature)}
    assert (await mallory.line.ask(**refresh, i=7)).op == pb.refreshed
    return refresh


def refresh(**signature: Any) -> Fields:
    return {"cmd": pb.session, "op": pb.refresh, "sessionMessage": pb.SessionCommand(**signature)}


def without_colon_pair(m: Mallory) -> Fields:
    return m.login(form="{app}:{me}:{t}:{n}")


LOGINS = [
    login("nothing", lambda m: m.open()),
    login("an empty signature", lambda m: m.open(**{**m.signed(), "s": ""})),
    login("only a timestamp and a nonce", lambda m: m.open(t=m.stage.signer.now(), n="n")),
    login("a signature alone", lambda m: m.open(s=m.signed()["s"])),
    login("a signature that is made up", lambda m: m.open(**{**m.signed(), "s": "0" * 40})),
    login("a signature cut short", lambda m: m.open(**{**(s := m.signed()), "s": s["s"][:-1]})),
    login("a signature with something behind it", lambda m: m.open(**{**(s := m.signed()), "s": s["s"] + "0"})),
    login("a signature with a space before it", lambda m: m.open(**{**(s := m.signed()), "s": " " + s["s"]})),
    login("a signature in full-width digits", lambda m: m.open(**{**m.signed(), "s": "\uff10" * 40})),
    login("a signature of 60,000 characters", lambda m: m.open(**{**m.signed(), "s": "0" * 60_000})),
    login("a signature made with the app key", lambda m: m.login(key=m.stage.server.app_key)),
    login("a signature made with no key", lambda m: m.login(key="")),
    login("a signature made with another application's key", lambda m: m.login(key=m.stage.neighbour.master_key)),
    login("another application's signature", lambda m: m.open(**m.stage.neighbour.login(m.me))),
    login("a signature that names another application", lambda m: m.login(app="fastim-test-neighbour")),
    login("a signature for another client", lambda m: m.login(me=m.stage.tom)),
    login("a signature for the same client in capitals", lambda m: m.login(me=m.me.upper())),
    login("a signature by SHA-256", lambda m: m.login(algorithm="sha256")),
    login("a signature by MD5", lambda m: m.login(algorithm="md5")),
    login("one colon too few signed", without_colon_pair),
    login("one colon too many signed", lambda m: m.login(form="{app}:{me}:::{t}:{n}")),
    login("the parts signed in another order", lambda m: m.login(form="{me}:{app}::{t}:{n}")),
    login("timestamp and nonce signed in another order", lambda m: m.login(form="{app}:{me}::{n}:{t}")),
    login("a signature for a conversation with members", lambda m: m.login(form=START, who=f"{m.me}:tyke")),
    login("a signature for an invitation", lambda m: m.login(form=CHANGE, cid="c", who=m.me, action="invite")),
    login("another nonce than was signed", lambda m: m.open(**{**m.signed(), "n": "another"})),
    login("another timestamp than was signed", lambda m: m.open(**{**(s := m.signed()), "t": s["t"] + 1})),
    login("no nonce", lambda m: m.login(n="")),
    login("a nonce with a colon", lambda m: m.login(n="a:b")),
    login("a nonce of 10,000 characters", lambda m: m.login(n="n" * 10_000)),
    login("a signature of six hours and a minute ago", lambda m: m.login(t=m.stage.signer.now() - 6 * HOUR - 60_000)),
    login("one of yesterday in seconds", lambda m: m.login(t=m.stage.signer.now() // 1000 - 86_400)),
    login("a signature of in eleven minutes", lambda m: m.login(t=m.stage.signer.now() + 660_000)),
    login("a signature of in a year", lambda m: m.login(t=m.stage.signer.now() + 365 * 24 * HOUR)),
    login("a timestamp in microseconds", lambda m: m.login(t=m.stage.signer.now() * 1000)),
    login("the timestamp 0", lambda m: m.login(t=0)),
    login("a timestamp before 1970", lambda m: m.login(t=-m.stage.signer.now())),
    login("the largest timestamp", lambda m: m.login(t=2**63 - 1)),
    login("the least timestamp", lambda m: m.login(t=-(2**63))),
    login("tom's name and a signature that tom has used", lambda m: m.open(m.stage.tom, **m.stage.used)),
    login(
        "tom's name and a used signature in capitals",
        lambda m: m.open(m.stage.tom, **{**m.stage.used, "s": m.stage.used["s"].upper()}),
    ),
    login("an own name and a signature that tom has used", lambda m: m.open(**m.stage.used)),
    login("a signature that was made before a kick", lambda m: m.open(m.stage.kicked, **m.stage.held)),
    login("a signature for no client", lambda m: m.open("", **m.signed(me="")), 4103),
    Row("refresh with a used signature", Server.STRICT, refresh_with_a_used_one, 4102, session=True),
    Row("refresh with a wrong signature", Server.STRICT, lambda m: refresh(t=1, n="n", s="0" * 40), 4102, session=True),
    Row(
        "refresh with another's signature",
        Server.STRICT,
        lambda m: refresh(**m.signed(me=m.stage.tom)),
        4102,
        session=True,
    ),
]


# --- Tokens -----------------------------------------------------------------------------------------------------------


def token(name: str, build: Callable[[Mallory], Fields], answer: Answer = 4112) -> list[Row]:
    return [Row(f"reopen with {name}, {server.name.lower()}", server, build, answer) for server in Server]


TOKENS = [
    *token("a token that is made up", lambda m: m.open(st="made up", r=True)),
    *token("tom's token as another", lambda m: m.open(st=m.stage.toms, r=True)),
    *token("tom's token from another application", lambda m: m.open(m.stage.tom, st=m.stage.foreign_token, r=True)),
    *token("tom's token cut short", lambda m: m.open(m.stage.tom, st=m.stage.toms[:-1])),
    *token("tom's token with something behind it", lambda m: m.open(m.stage.tom, st=m.stage.toms + "=")),
    *token("tom's token and a NUL", lambda m: m.open(m.stage.tom, st=m.stage.toms + "\0")),
    *token("tom's token in other letters", lambda m: m.open(m.stage.tom, st=m.stage.toms.swapcase())),
    *token("what the store holds of tom's token", lambda m: m.open(m.stage.tom, st=digest(m.stage.toms))),
    *token("tom's name as a token", lambda m: m.open(m.stage.tom, st=m.stage.tom)),
    *token("a token of 60,000 characters", lambda m: m.open(m.stage.tom, st="x" * 60_000)),
    *token("the token of one who was kicked", lambda m: m.open(m.stage.kicked, st=m.stage.kicked_token, r=True)),
    *token(
        "a signature that counts and a token that does not",
        lambda m: m.open(st="made up", **m.signed()),
    ),
]


# --- Names and applications -------------------------------------------------------------------------------------------


def named(name: str, client_id: str) -> Row:
    return Row(f"log in as {name}", Server.LENIENT, lambda m: m.open(client_id), 4103)


def application(name: str, app_id: str) -> Row:
    return Row(f"log in to {name}", Server.LENIENT, lambda m: m.open(app_id=app_id), 4100)


NEIGHBOURS = "fastim-test-neighbour"

NAMES = [
    named("nobody", ""),
    named("one with a name of 65 characters", "x" * 65),
    named("one with a name of 65 characters that are no letters", "\U0001f600" * 65),
    named("one with a name of 60,000 characters", "x" * 60_000),
    named("tom and a NUL", "tom\0"),
    named("a NUL", "\0"),
    named("two lines", "tom\njerry"),
    named("a line that ends", "tom\r"),
    named("an escape sequence", "\x1b[31mtom"),
    named("a DEL", "tom\x7f"),
    named("a C1 control", "tom\x85"),
    named("a name written backwards", "tom\u202e"),
    named("a name with no width", "tom\u200b"),
    named("a name with a byte order mark", "\ufefftom"),
    named("a name with a line separator", "tom\u2028"),
    named("a name for private use", "tom\ue000"),
    application("no application", ""),
    application("an application that is not there", "no-such-application"),
    application("the application in capitals", "FASTIM-TEST-APPLICATION"),
    application("the application and a NUL", "fastim-test-application\0"),
    application("the application and a space", "fastim-test-application "),
    application("a part of the application", "fastim-test"),
    application("two applications", f"fastim-test-application,{NEIGHBOURS}"),
    application("an application of 60,000 characters", "x" * 60_000),
    Row(
        "open a second session in another application", Server.LENIENT, lambda m: m.open(app_id=NEIGHBOURS), 4100, True
    ),
    Row(
        "send in the name of another application",
        Server.LENIENT,
        lambda m: {**direct(m.stage.foreign_cid), "appId": NEIGHBOURS},
        4100,
        session=True,
    ),
    Row(
        "query in the name of another application",
        Server.LENIENT,
        lambda m: {**where("{}"), "appId": NEIGHBOURS},
        4100,
        session=True,
    ),
    Row(
        "answer for a session of another connection",
        Server.LENIENT,
        lambda m: {**direct(m.stage.cid), "peerId": m.stage.tom},
        4105,
        session=True,
    ),
    Row(
        "close a session of another connection",
        Server.LENIENT,
        lambda m: {"cmd": pb.session, "op": pb.close, "peerId": m.stage.tom},
        4105,
        session=True,
    ),
    Row("send before logging in", Server.LENIENT, lambda m: direct(m.stage.cid), 4105),
    Row("send before logging in, in tom's name", Server.LENIENT, lambda m: direct(m.stage.cid, fromPeerId="tom"), 4105),
    Row("read before logging in", Server.LENIENT, lambda m: logs(m.stage.cid), 4105),
    Row("query before logging in", Server.LENIENT, lambda m: where("{}"), 4105),
    Row("invite before logging in", Server.LENIENT, lambda m: m.invite(m.me), 4105),
    Row("refresh before logging in", Server.LENIENT, lambda m: refresh(), 4105),
    Row("refresh before logging in with tom's token", Server.LENIENT, lambda m: refresh(st=m.stage.toms), 4105),
    Row(
        "ask who is online before logging in",
        Server.LENIENT,
        lambda m: {"cmd": pb.session, "op": pb.query, "sessionMessage": pb.SessionCommand(sessionPeerIds=["tom"])},
        4105,
    ),
]


# --- Conversations where signatures are required ----------------------------------------------------------------------


def starting(name: str, build: Build) -> Row:
    return Row(f"start with {name}", Server.STRICT, build, 4302, session=True)


def inviting(name: str, build: Build, answer: Answer = 4302) -> Row:
    return Row(f"invite with {name}", Server.STRICT, build, answer, session=True, as_tom=True)


def removing(name: str, build: Build, answer: Answer = 4302) -> Row:
    return Row(f"remove with {name}", Server.STRICT, build, answer, session=True, as_tom=True)


async def start_again(mallory: Mallory) -> Fields:
    command = mallory.start("tyke", **mallory.signed(START, who=f"{mallory.me}:tyke"))
    assert (await mallory.line.ask(**command, i=7)).op == pb.started
    for _ in range(2):
        await mallory.line.receive()
    return command


async def invite_again(mallory: Mallory) -> Fields:
    """In a conversation of its own, so that tom's stays as it is."""
    start = mallory.start("tyke", **mallory.signed(START, who=":".join(sorted([mallory.me, "tyke"]))))
    cid = (await mallory.line.ask(**start, i=7)).convMessage.cid
    for _ in range(2):
        await mallory.line.receive()
    command = mallory.invite("spike", cid=cid, **mallory.change("spike", "invite", cid=cid))
    assert (await mallory.line.ask(**command, i=8)).op == pb.added
    await mallory.line.receive()
    removal = mallory.remove("spike", cid=cid, **mallory.change("spike", "kick", cid=cid))
    assert (await mallory.line.ask(**removal, i=9)).op == pb.removed
    await mallory.line.receive()
    return command


async def start_with_the_login_s(mallory: Mallory) -> Fields:
    """What is signed for a login is what is signed for a conversation without others."""
    signature = mallory.signed()
    assert (await mallory.line.ask(**mallory.open(**signature), i=7)).op == pb.opened
    return mallory.start(**signature)


def crossed(m: Mallory) -> Fields:
    """An invitation's signature, cut where the nonce of a start would begin."""
    signature = m.change("tyke", "invite")
    return m.start(m.stage.cid, "tyke", **{**signature, "n": f"{signature['n']}:invite"})


CONVERSATIONS = [
    starting("nothing", lambda m: m.start("tyke")),
    starting("a signature that is made up", lambda m: m.start("tyke", t=m.stage.signer.now(), n="n", s="0" * 40)),
    starting("the signature of the login", start_with_the_login_s),
    starting("a signature for other members", lambda m: m.start("tyke", **m.signed(START, who=f"{m.me}:spike"))),
    starting("a signature for more members", lambda m: m.start("tyke", **m.signed(START, who=f"{m.me}:spike:tyke"))),
    starting("a signature for fewer members", lambda m: m.start("a", "b", **m.signed(START, who=f"a:{m.me}"))),
    starting("members signed out of order", lambda m: m.start("a", "b", **m.signed(START, who=f"b:a:{m.me}"))),
    starting("another's signature", lambda m: m.start("tyke", **m.signed(START, who="tyke:tom", me=m.stage.tom))),
    starting("the app key", lambda m: m.start("a", **m.signed(START, who="a", key=m.stage.server.app_key))),
    starting("an old one", lambda m: m.start("a", **m.signed(START, who="a", t=m.stage.signer.now() - 7 * HOUR))),
    starting("one of tomorrow", lambda m: m.start("a", **m.signed(START, who="a", t=m.stage.signer.now() + 24 * HOUR))),
    starting("a signature for an invitation", lambda m: m.start("a", **m.change("a", "invite"))),
    starting("a signature for an invitation that is read in another way", crossed),
    starting("a used signature", start_again),
    inviting("nothing", lambda m: m.invite("tyke")),
    inviting("a signature that is made up", lambda m: m.invite("tyke", t=1, n="n", s="f" * 40)),
    inviting("a signature for removing", lambda m: m.invite("tyke", **m.change("tyke", "kick"))),
    inviting("a signature for no action", lambda m: m.invite("tyke", **m.change("tyke", ""))),
    inviting("a signature for blocking", lambda m: m.invite("a", **m.change("a", "conversation-block-clients"))),
    inviting("a signature for another client", lambda m: m.invite("tyke", **m.change("spike", "invite"))),
    inviting("a signature for one of two", lambda m: m.invite("spike", "tyke", **m.change("tyke", "invite"))),
    inviting("a signature for two of one", lambda m: m.invite("tyke", **m.change("spike:tyke", "invite"))),
    inviting("two signed out of order", lambda m: m.invite("a", "b", **m.change("b:a", "invite"))),
    inviting("a signature for another conversation", lambda m: m.invite("a", **m.change("a", "invite", cid="0" * 24))),
    inviting("another member's signature", lambda m: m.invite("a", **m.change("a", "invite", me=m.stage.jerry))),
    inviting("the app key", lambda m: m.invite("a", **m.change("a", "invite", key=m.stage.server.app_key))),
    inviting("another application's signature", lambda m: m.invite("a", **m.change("a", "invite", app=NEIGHBOURS))),
    inviting(
        "a signature in another order", lambda m: m.invite("a", **m.change("a", "invite", form="{app}:{cid}:{me}"))
    ),
    inviting(
        "one of seven hours ago", lambda m: m.invite("a", **m.change("a", "invite", t=m.stage.signer.now() - 7 * HOUR))
    ),
    Row("invite with a used signature", Server.STRICT, invite_again, 4302, session=True),
    Row("join without a signature", Server.STRICT, lambda m: m.invite(m.me), 4302, session=True),
    Row(
        "join with tom's signature for it",
        Server.STRICT,
        lambda m: m.invite(m.me, **m.change(m.me, "invite", me=m.stage.tom)),
        4302,
        session=True,
    ),
    Row(
        "invite as a stranger with a signature that counts",
        Server.STRICT,
        lambda m: m.invite("tyke", **m.change("tyke", "invite")),
        4317,
        session=True,
    ),
    removing("nothing", lambda m: m.remove(m.stage.jerry)),
    removing("a signature for inviting", lambda m: m.remove(m.stage.jerry, **m.change(m.stage.jerry, "invite"))),
    removing("a signature for another client", lambda m: m.remove(m.stage.jerry, **m.change("spike", "kick"))),
    removing("nothing, and oneself", lambda m: m.remove(m.stage.tom, m.stage.jerry)),
    removing("a signature that is made up", lambda m: m.remove(m.stage.jerry, t=1, n="n", s="f" * 40)),
    removing("nothing, nobody", lambda m: m.remove()),
    Row(
        "remove as a stranger with a signature that counts",
        Server.STRICT,
        lambda m: m.remove(m.stage.jerry, **m.change(m.stage.jerry, "kick")),
        4317,
        session=True,
    ),
]


# --- What is another's, or nowhere ------------------------------------------------------------------------------------

PLACES: dict[str, Callable[[Stage], str]] = {
    "tom's conversation": lambda stage: stage.cid,
    "a conversation of another application": lambda stage: stage.foreign_cid,
    "no conversation": lambda stage: "",
    "tom's conversation in capitals": lambda stage: stage.cid.upper() if stage.cid.upper() != stage.cid else "A" * 24,
    "tom's conversation and a NUL": lambda stage: stage.cid + "\0",
    "a part of tom's conversation": lambda stage: stage.cid[:-1],
    "a temporary conversation of the same digits": lambda stage: "_tmp:" + stage.cid,
    "a path": lambda stage: "../" + stage.cid,
    "all conversations": lambda stage: "*",
    "a conversation in other digits": lambda stage: "\u0661" * 24,
    "a conversation of 4,000 characters": lambda stage: "a" * 4_000,
}


def places() -> list[Row]:
    rows = []
    for name, place in PLACES.items():
        is_toms = name == "tom's conversation"
        commands: list[tuple[str, Callable[[Stage, str], Fields], int]] = [
            ("send to", lambda stage, cid: direct(cid), 4303 if "temporary" in name else 4401),
            ("read the history of", lambda stage, cid: logs(cid), 4312 if is_toms else 4303),
            ("change", lambda stage, cid: update(cid, '{"name": "mine"}'), 4309 if is_toms else 4303),
            ("invite to", lambda stage, cid: conv(pb.add, cid=cid, m=["tyke"]), 4317 if is_toms else 4303),
            ("remove from", lambda stage, cid: conv(pb.remove, cid=cid, m=[stage.jerry]), 4317 if is_toms else 4303),
            ("mute", lambda stage, cid: conv(pb.mute, cid=cid), 4317 if is_toms else 4303),
        ]
        for verb, command, answer in commands:
            rows.append(Row(f"{verb} {name}", Server.LENIENT, _at(command, place), answer, session=True))
    return rows


def _at(command: Callable[[Stage, str], Fields], place: Callable[[Stage], str]) -> Build:
    return lambda mallory: command(mallory.stage, place(mallory.stage))


# --- Too much, and lies about lengths ---------------------------------------------------------------------------------


def toms(name: str, build: Callable[[Mallory], Fields], answer: Answer) -> Row:
    """What not even a member may."""
    return Row(name, Server.LENIENT, build, answer, session=True, as_tom=True)


def raw(name: str, data: bytes, code: int, *, framed: bool = False, session: bool = True) -> Row:
    return Row(name, Server.LENIENT, lambda m: data, Closed(code), session=session, framed=framed)


DEEP = 5_000

TOO_MUCH = [
    toms("send a byte more than a message has", lambda m: direct(m.stage.cid, msg=b"x" * (5_121 - 29)), 4109),
    toms("send 60,000 bytes", lambda m: direct(m.stage.cid, msg=b"x" * 60_000), 4109),
    toms("send 60,000 binary bytes", lambda m: direct(m.stage.cid, msg=b"", binaryMsg=b"\xff" * 60_000), 4109),
    toms("push 60,000 characters", lambda m: direct(m.stage.cid, pushData="x" * 60_000), 4109),
    toms("mention 2,000 clients", lambda m: direct(m.stage.cid, mentionPids=["client"] * 2_000), 4109),
    toms("a token of 60,000 characters with a message", lambda m: direct(m.stage.cid, dt="x" * 60_000), 4109),
    toms("start with 501 members", lambda m: m.start(*(f"member{number}" for number in range(500))), 4304),
    toms("start with a member without a name", lambda m: m.start(""), 4103),
    toms("start with a member of 65 characters", lambda m: m.start("x" * 65), 4103),
    toms("start with a member in two lines", lambda m: m.start("a\nb"), 4103),
    toms("start with attributes that are no JSON", lambda m: m.start(attr=pb.JsonObjectMessage(data="{")), 4306),
    toms("start with a list for attributes", lambda m: m.start(attr=pb.JsonObjectMessage(data="[1]")), 4306),
    toms(
        "start with attributes without end",
        lambda m: m.start(attr=pb.JsonObjectMessage(data='{"a":' * DEEP + "1" + "}" * DEEP)),
        4306,
    ),
    toms("start what is a chat room and temporary", lambda m: m.start(transient=True, tempConv=True), 4308),
    toms("start a temporary conversation with ten others", lambda m: m.start(*"abcdefghij", tempConv=True), 4304),
    toms("change the members by an update", lambda m: update(m.stage.cid, '{"m": ["mallory"]}'), 4306),
    toms("change the creator by an update", lambda m: update(m.stage.cid, '{"c": "mallory"}'), 4306),
    toms("change the id by an update", lambda m: update(m.stage.cid, '{"objectId": "x"}'), 4306),
    toms("change a part of the members", lambda m: update(m.stage.cid, '{"m.0": "mallory"}'), 4306),
    toms(
        "add to the members by an operation",
        lambda m: update(m.stage.cid, '{"m":{"__op":"Add","objects":["x"]}}'),
        4306,
    ),
    toms("change a prototype", lambda m: update(m.stage.cid, '{"__proto__.x": 1}'), 4306),
    toms("an operation that is not there", lambda m: update(m.stage.cid, '{"name": {"__op": "Explode"}}'), 4306),
    toms("attributes without end", lambda m: update(m.stage.cid, '{"a":' * DEEP + "1" + "}" * DEEP), 4306),
    toms("a number that is none", lambda m: update(m.stage.cid, '{"a": NaN}'), 4306),
    toms("a query without end", lambda m: where('{"a":' * DEEP + "1" + "}" * DEEP), 4310),
    toms("a query that is no JSON", lambda m: where("{not json"), 4310),
    toms("a query that is a list", lambda m: where("[]"), 4310),
    toms("a query that wants to run", lambda m: where('{"$where": "sleep(1000)"}'), 4310),
    toms("a query by an operator that is not there", lambda m: where('{"name": {"$function": "x"}}'), 4310),
    toms("a query by half a pattern", lambda m: where('{"name": {"$regex": "("}}'), 4310),
    toms("a query of 1,001 conditions", lambda m: where('{"$or": [' + '{"a": 1},' * 1_000 + '{"a": 1}]}'), 4310),
    toms("a query for less than nothing", lambda m: conv(pb.query, limit=-1), 4310),
    toms("a query that skips back", lambda m: conv(pb.query, skip=-(2**31)), 4310),
    toms("a query in order of 100 keys", lambda m: conv(pb.query, sort=",".join("abcdefghij" * 10)), 4310),
    toms("is one a member of 1,001", lambda m: conv(pb.is_member, cids=["c"] * 1_001), 4310),
    toms("history of less than nothing", lambda m: logs(m.stage.cid, l=-1), 4311),
    toms(
        "read 1,001 conversations", lambda m: {"cmd": pb.read, "readMessage": pb.ReadCommand(cids=["c"] * 1_001)}, 4310
    ),
    toms("a command of another protocol", lambda m: {"cmd": pb.pubsub}, 4200),
    toms("a command that only servers give", lambda m: {"cmd": pb.goaway}, 4200),
    toms("an answer instead of a question", lambda m: conv(pb.started, cid=m.stage.cid), 4200),
    raw("a frame of one byte too many", (65_537).to_bytes(4), 4109),
    raw("a frame of 2 GB", (2**31).to_bytes(4), 4109),
    raw("a frame of 4 GB", b"\xff" * 4, 4109),
    raw("a frame of 4 GB before logging in", b"\xff" * 4, 4109, session=False),
    raw("HTTP at the wrong door", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 4109, session=False),
    raw("TLS at the wrong door", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(20), 4109, session=False),
]


# --- What is no command -----------------------------------------------------------------------------------------------


def body(name: str, data: bytes) -> list[Row]:
    return [
        raw(f"{name}, {'in' if session else 'before'} a session", data, 4114, framed=True, session=session)
        for session in (True, False)
    ]


CID = b"\xf2\x06"  # field 110, convMessage

NO_COMMANDS = [
    *body("sixteen bytes of ones", b"\xff" * 16),
    *body("text", b"Let me in."),
    *body("JSON", b'{"cmd": "session", "op": "open"}'),
    *body("a NUL", b"\0"),
    *body("field 0", b"\x02\x01x"),
    *body("a length beyond the end", b"\xb2\x06\xff\xff\xff\xff\x0f"),
    *body("a length one too long", b"\x08\x01\x22\x06tommy"),
    *body("a nested length beyond its message", b"\x08\x01\x10\x1e" + CID + b"\x03\x0a\x7fx"),
    *body("a number without end", b"\x08" + b"\xff" * 11),
    *body("a number cut short", b"\x08\x80"),
    *body("half of a fixed number", b"\x08\x01\x0d\x00\x00"),
    *body("a group that does not end", b"\x08\x01\xbb\x3e"),
    *body("an end without a group", b"\x08\x01\xbc\x3e"),
    *body("groups without end", b"\xbb\x3e" * 1_000),
    *body("groups a thousand deep", b"\xbb\x3e" * 1_000 + b"\xbc\x3e" * 1_000),
    *body("wire type 6", b"\x08\x01\x0e"),
    *body("wire type 7", b"\x08\x01\x0f"),
    *body("a client id that is not UTF-8", b"\x08\x0e\x22\x02\xff\xfe"),
    *body("an application that is not UTF-8", b"\x08\x00\x10\x01\x1a\x02\xc3\x28"),
    *body("an overlong NUL in a client id", b"\x08\x0e\x22\x02\xc0\x80"),
    *body("a surrogate in a client id", b"\x08\x0e\x22\x03\xed\xa0\x80"),
    *body("a character beyond the last", b"\x08\x0e\x22\x04\xf4\x90\x80\x80"),
    *body("a member that is not UTF-8", b"\x08\x01\x10\x1e" + CID + b"\x03\x0a\x01\xff"),
    *body("a nonce that is not UTF-8", b"\x08\x01\x10\x1e" + CID + b"\x03\x72\x01\xff"),
    *body("a signature that is not UTF-8", b"\x08\x01\x10\x1e" + CID + b"\x03\x7a\x01\xff"),
    *body("a message for a conversation that is not UTF-8", b"\x08\x02\x28\x05\xc2\x06\x03\x5a\x01\xff"),
]

ROWS = [*LOGINS, *TOKENS, *NAMES, *CONVERSATIONS, *places(), *TOO_MUCH, *NO_COMMANDS]
