"""The command line: ``fastim serve``, ``init``, ``doctor``, ``words``, ``push``, ``backup``, ``verify``, ``bench``...

It reads flags, loads the settings and hands over. What needs the server's libraries is imported by the command that
runs it, so that the other commands answer at once. Exit codes: 0 done, 1 something is wrong, 2 not done as asked.
"""

import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from fastim.core.errors import SettingsError
from fastim.settings import GivenApplication, Loaded, load, template

cli = typer.Typer(
    help="A self-hosted instant-messaging server that speaks LeanCloud IM's protocol.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
words = typer.Typer(help="Look at a list of words to mask, without a server.", no_args_is_help=True)
cli.add_typer(words, name="words")
push = typer.Typer(help="Try out push, without a server.", no_args_is_help=True)
cli.add_typer(push, name="push")

LINES_MAX = 100
"""Lines of a list that are talked about, of each kind."""

Config = Annotated[
    Path | None, typer.Option("--config", envvar="FASTIM_CONFIG", metavar="FILE", help="TOML file with the settings.")
]
Data = Annotated[str | None, typer.Option("--data", metavar="DIR", help="Data directory, made when missing [./data].")]
Tcp = Annotated[
    str | None, typer.Option("--tcp", metavar="HOST:PORT", help="Native protocol; port 0: any [127.0.0.1:4567].")
]
Http = Annotated[
    str | None, typer.Option("--http", metavar="HOST:PORT", help="WebSocket, REST, console [127.0.0.1:4568].")
]
Tcps = Annotated[
    str | None, typer.Option("--tcps", metavar="HOST:PORT", help="--tcp over TLS; see tls.certificate, tls.key.")
]
Https = Annotated[
    str | None, typer.Option("--https", metavar="HOST:PORT", help="--http over TLS; see tls.certificate, tls.key.")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Any setting; may be given many times.")
]


def main() -> None:
    """Run the command that the arguments name, and exit."""
    try:
        try:
            cli(prog_name="fastim")
        finally:
            sys.stdout.flush()
    except SettingsError as error:
        print(f"fastim: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        # Nobody reads any more; without this the interpreter complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@cli.command()
def serve(
    config: Config = None,
    data: Data = None,
    tcp: Tcp = None,
    http: Http = None,
    tcps: Tcps = None,
    https: Https = None,
    app_id: Annotated[
        str | None,
        typer.Option("--app-id", metavar="ID", help="Make or update it; Java and Swift want 9 characters or more."),
    ] = None,
    app_key: Annotated[str | None, typer.Option("--app-key", metavar="KEY", help="Its key.")] = None,
    master_key: Annotated[str | None, typer.Option("--master-key", metavar="KEY", help="Its master key.")] = None,
    show_keys: Annotated[
        bool, typer.Option("--show-keys", help="Print addresses and keys on stderr, not only when keys are made.")
    ] = False,
    settings: Set = None,
) -> None:
    """Start the server. It prints one line when it is ready and logs to stderr; SIGTERM drains it."""
    given = _given_application(app_id, app_key, master_key)
    loaded = _load(config, settings, data=data, tcp=tcp, http=http, tcps=tcps, https=https)
    from fastim.app import serve as run

    raise typer.Exit(run(loaded, given, show_keys=show_keys))


@cli.command()
def init(
    file: Annotated[Path, typer.Argument(metavar="[FILE]", help="What to write.")] = Path("fastim.toml"),
    force: Annotated[bool, typer.Option("--force", help="Write over an existing file.")] = False,
) -> None:
    """Write a configuration file that says every setting, its unit and its default."""
    try:
        with file.open("w" if force else "x", encoding="utf-8") as new:
            new.write(template())
    except FileExistsError:
        raise SettingsError(f"{file} exists: give another name, or --force to write over it") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror or error}") from error
    print(f"{file} written: every setting is in it with its default, commented out. Next:")
    print(f"  fastim doctor --config {file}   whether this machine can run it")
    print(f"  fastim serve --config {file}    start")


@cli.command()
def doctor(
    config: Config = None,
    data: Data = None,
    tcp: Tcp = None,
    http: Http = None,
    tcps: Tcps = None,
    https: Https = None,
    settings: Set = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
) -> None:
    """Look at this machine: what would keep the server from starting, and what would slow it down."""
    loaded = _load(config, settings, data=data, tcp=tcp, http=http, tcps=tcps, https=https)
    from fastim.doctor import examine

    findings = examine(loaded.settings)
    fine = all(finding.state != "failure" for finding in findings)
    if as_json:
        print(msgspec.json.format(msgspec.json.encode({"ok": fine, "findings": findings})).decode())
    else:
        styles = {"ok": "green", "warning": "yellow", "failure": "bold red", "unknown": "dim"}
        _print_rows([(finding.about, finding.state, finding.says) for finding in findings], styles)
        print("a start would succeed" if fine else "a start would fail")
    raise typer.Exit(0 if fine else 1)


@words.command("check")
def check_words(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="One word per line, UTF-8.")],
    config: Config = None,
    settings: Set = None,
) -> None:
    """Say which lines of a list cannot be used, and which say the same; exits with 1 when a line cannot be used."""
    from fastim.words import check, read_list

    checked = check(read_list(file), _load(config, settings).for_application({}).words)
    shown = [*checked.problems[:LINES_MAX], *checked.hints[:LINES_MAX]]
    kinds = ["problem"] * len(checked.problems[:LINES_MAX]) + ["hint"] * len(checked.hints[:LINES_MAX])
    rows = [(kind, f"line {line.number}", line.says) for kind, line in zip(kinds, shown, strict=True)]
    _print_rows(rows, {"problem": "bold red", "hint": "yellow"})
    untold = len(checked.problems) + len(checked.hints) - len(shown)
    if untold:
        print(f"and {untold} more lines like these")
    print(
        f"{file}: {checked.word_count} words, {len(checked.problems) or 'no'} problems; {checked.size_bytes} bytes, "
        f"{checked.memory_bytes} in memory, made in {checked.seconds * 1000:.1f} ms"
    )
    raise typer.Exit(1 if checked.problems else 0)


@words.command("test")
def try_words(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What somebody might say.")],
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="The list [words.file of the settings].")
    ] = None,
    config: Config = None,
    settings: Set = None,
) -> None:
    """Say which words of a list would be hit in a text and why, and what would be left of it."""
    given = _load(config, settings).for_application({}).words
    if file is None and not given.file:
        raise SettingsError("there is no list: give --file, or words.file in the settings")
    from fastim.words import explain, read_list

    explained = explain(text, read_list(file or Path(given.file)), given)
    _print_rows(("hit", hit.original, hit.word, f"line {hit.line}", hit.why) for hit in explained.hits[:LINES_MAX])
    untold = len(explained.hits) - LINES_MAX
    if untold > 0:
        print(f"and {untold} more hits")
    print(f"hits: {len(explained.hits)}")
    print(explained.masked)
    if explained.problem_count:
        print(f"lines that cannot be used: {explained.problem_count}; 'fastim words check' names them", file=sys.stderr)
    if file is None and not given.enabled:
        print("words.enabled is off: a server with these settings masks nothing", file=sys.stderr)


@push.command("test")
def try_push(
    installation: Annotated[
        str | None,
        typer.Option("--installation", metavar="ID", help="One that is stored: its objectId, or its installationId."),
    ] = None,
    token: Annotated[
        str | None, typer.Option("--token", metavar="TOKEN", help="Of a device that need not be stored.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="That device's: ios, android or web.")
    ] = None,
    vendor: Annotated[
        str,
        typer.Option(
            "--vendor", metavar="NAME", help="An Android device's: hms, xiaomi, oppo, vivo, honor; none is fcm."
        ),
    ] = "",
    topic: Annotated[
        str,
        typer.Option("--topic", metavar="ID", help="An iOS device's: the app's bundle id, if not that of push.apns."),
    ] = "",
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="APNs' environment, dev or prod; else the device's.")
    ] = "",
    text: Annotated[str | None, typer.Option("--text", metavar="TEXT", help="What it says.")] = None,
    config: Config = None,
    data: Data = None,
    settings: Set = None,
) -> None:
    """Send one notification to one device and explain the answer; exits with 1 when it was not sent."""
    if (installation is None) == (token is None):
        raise SettingsError("give --installation or --token, one of them")
    if installation is not None and (kind is not None or vendor or topic):
        raise SettingsError("--type, --vendor and --topic go with --token: an installation has its own")
    if token is not None and kind is None:
        raise SettingsError("--type: give that device's, ios, android or web")
    loaded = _load(config, settings, data=data)
    from fastim import push_test

    stored: Mapping[str, object] = {}
    if installation is not None:
        application, device = push_test.stored_device(Path(loaded.settings.server.data), installation)
        stored = application.settings
    else:
        device = push_test.device_of(token or "", kind or "", vendor=vendor, topic=topic, profile=profile)
    tried = push_test.try_out(
        loaded.for_application(stored).push, device, push_test.TEXT if text is None else text, profile
    )
    _print_rows(tried.rows)
    raise typer.Exit(0 if tried.sent else 1)


@cli.command()
def backup(
    target: Annotated[Path, typer.Argument(metavar="TARGET", help="Where the copy goes: a new or an empty directory.")],
    config: Config = None,
    data: Data = None,
) -> None:
    """Copy the store, beside a running server too; a server can start from the copy."""
    source = Path(_load(config, None, data=data).settings.server.data)
    from fastim.adapters.lmdb.backup import backup as copy

    size_bytes = copy(source, target)
    print(f"{source} copied to {target}, {size_bytes} bytes")


@cli.command()
def verify(config: Config = None, data: Data = None) -> None:
    """Check every rule that the stored records have to keep, beside a running server too."""
    path = Path(_load(config, None, data=data).settings.server.data)
    from fastim.adapters.lmdb.verify import verify as check

    report = check(path)
    _print_rows([(table, str(count)) for table, count in report.counts.items()])
    _print_rows([("problem", problem) for problem in report.problems], {"problem": "bold red"})
    untold = report.problem_count - len(report.problems)
    print(f"{path}: {report.problem_count or 'no'} problems{f', {untold} of them not shown' if untold else ''}")
    raise typer.Exit(1 if report.problem_count else 0)


@cli.command()
def bench(
    scenario: Annotated[
        str | None, typer.Argument(metavar="[SCENARIO]", help="What to run, see --list [room].", show_default=False)
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Say which scenarios there are.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the scenario's profile, to change a copy of it.")] = False,
    profile: Annotated[
        Path | None, typer.Option("--profile", metavar="FILE", help="A profile of your own instead of a scenario.")
    ] = None,
    seconds: Annotated[float | None, typer.Option("--seconds", metavar="N", help="To measure for.")] = None,
    readers: Annotated[int | None, typer.Option("--readers", metavar="N", help="In each chat room.")] = None,
    senders: Annotated[int | None, typer.Option("--senders", metavar="N", help="To chat rooms, in all.")] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", metavar="N", help="Messages, or pages, a second, of each part.")
    ] = None,
    body_bytes: Annotated[int | None, typer.Option("--body-bytes", metavar="N", help="Of a message.")] = None,
    transport: Annotated[
        str | None, typer.Option("--transport", metavar="NAME", help="tcp, or websocket.", show_default=False)
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="[PART.]KEY=VALUE", help="Any key of the profile.")
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="HOST:PORT", help="A server that runs [one is started].")
    ] = None,
    app_id: Annotated[
        str | None, typer.Option("--app-id", metavar="ID", help="Its application; the load's messages stay in it.")
    ] = None,
    app_key: Annotated[
        str | None, typer.Option("--app-key", metavar="KEY", help="Is checked over --http; not needed.")
    ] = None,
    http: Annotated[
        str | None, typer.Option("--http", metavar="HOST:PORT", help="The server's HTTP, to read its metrics.")
    ] = None,
    process_id: Annotated[
        int | None, typer.Option("--pid", metavar="PID", help="Its process, if it is on this machine.")
    ] = None,
    server_settings: Annotated[
        list[str] | None,
        typer.Option("--server-set", metavar="TABLE.KEY=VALUE", help="A setting of the server that is started."),
    ] = None,
    pin: Annotated[bool, typer.Option("--pin/--no-pin", help="Give the load a core of its own.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write all of it.")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE.svg", help="Where to [fastim-bench-SCENARIO.svg].")
    ] = None,
    no_plot: Annotated[bool, typer.Option("--no-plot", help="Write no plot.")] = False,
) -> None:
    """Load a server and say how it fared; one is started for that, with its data in a temporary directory."""
    from fastim.bench import profile as profiles
    from fastim.bench.command import Wish, list_scenarios
    from fastim.bench.command import bench as run
    from fastim.bench.failures import BenchError

    if list_all:
        _print_rows(list_scenarios())
        return
    if show:
        print(profiles.text_of(scenario or profiles.DEFAULT), end="")
        return
    flags = {
        "seconds": seconds,
        "readers": readers,
        "senders": senders,
        "rate": rate,
        "body_bytes": body_bytes,
        "transport": transport,
    }
    wish = Wish(
        scenario=scenario,
        profile=profile,
        flags={key: str(value) for key, value in flags.items() if value is not None},
        settings=settings or [],
        server=server,
        http=http,
        app_id=app_id,
        app_key=app_key,
        process_id=process_id,
        server_settings=server_settings or [],
        pinned=pin,
        json=json_file,
        plot=plot,
        plots=not no_plot,
        command=sys.argv[1:],
    )
    try:
        raise typer.Exit(run(wish))
    except BenchError as error:
        print(f"fastim: {error}", file=sys.stderr)
        raise typer.Exit(2) from error


@cli.command()
def version() -> None:
    """Say which fastim this is."""
    try:
        number = importlib.metadata.version("fastim")
    except importlib.metadata.PackageNotFoundError:
        number = "(not installed)"
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"fastim {number}, {interpreter}, {platform.system()} {platform.machine()}")


def _given_application(app_id: str | None, key: str | None, master_key: str | None) -> GivenApplication | None:
    if app_id is None and key is None and master_key is None:
        return None
    if app_id is None or key is None or master_key is None:
        raise SettingsError("--app-id, --app-key and --master-key go together: give all three or none")
    return GivenApplication(app_id, key, master_key)


def _load(config: Path | None, settings: Sequence[str] | None, **flags: str | None) -> Loaded:
    shorthands = [f"--{flag}={value}" for flag, value in flags.items() if value is not None]
    return load(config, os.environ, [*shorthands, *(settings or ())])


def _print_rows(rows: Iterable[tuple[str, ...]], styles: Mapping[str, str] | None = None) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for row in rows:
        # Folded, not cut: a word may be longer than the terminal is wide.
        table.add_row(*(Text(cell, (styles or {}).get(cell, ""), overflow="fold") for cell in row))
    if table.rows:
        # In a file or a pipe a row stays on its line, for grep.
        Console(width=None if sys.stdout.isatty() else 500).print(table)


if __name__ == "__main__":
    main()
