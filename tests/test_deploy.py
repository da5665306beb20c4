"""The operators' files: every metric, label, flag, setting and path that they name is one that there is."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import yaml  # type: ignore[import-untyped]
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from fastim.__main__ import cli
from fastim.client import Refused, connect
from fastim.settings import describe
from tests.end_to_end.scrape import get
from tests.server_process import ServerProcess

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCS = ROOT / "docs"

HOOKS = """
from fastim.hooks import ClientOnline, client_online

@client_online
def greet(client: ClientOnline) -> None: ...
"""

KEYWORDS = {
    *("sum", "min", "max", "topk", "rate", "increase", "deriv", "min_over_time", "histogram_quantile"),
    *("by", "and", "or", "unless", "offset"),
}
"""The words of PromQL that the files use."""
ADDED = {"instance", "job"}
"""Labels that Prometheus puts on what it scrapes."""
PROMETHEUS_OWN = {"up"}

Exported = dict[str, set[str]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The labels of every sample of a server that has been used, by the sample's name."""
    data = tmp_path_factory.mktemp("deploy")
    (data / "hooks.py").write_text(HOOKS, encoding="utf-8")
    settings = [f"hooks.python={data / 'hooks.py'}", "push.webhook=http://127.0.0.1:9/"]
    flags = [word for setting in settings for word in ("--set", setting)]
    with ServerProcess(data / "data", *flags) as server:
        return anyio.run(_use, server)


async def _use(server: ServerProcess) -> Exported:
    async with connect(str(server.tcp), app_id=server.app_id, client_id="tom") as tom:
        with pytest.raises(Refused):
            await tom.room("no such room").join()
    found: Exported = {}
    with anyio.fail_after(20):
        # A hook is named once it was called, which nobody has waited for.
        while "fastim_hook_calls_total" not in found:
            found = _samples((await get(server, "/metrics"))[1])
    return found


def _samples(exposition: str) -> Exported:
    found: Exported = {}
    for family in text_string_to_metric_families(exposition):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


# --- Metrics ----------------------------------------------------------------------------------------------------------


def dashboard() -> dict[str, Any]:
    board: dict[str, Any] = json.loads((DEPLOY / "grafana/fastim.json").read_text(encoding="utf-8"))
    return board


def targets() -> list[dict[str, str]]:
    """Everything that the dashboard asks for."""
    return [target for panel in dashboard()["panels"] for target in panel.get("targets", ())]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((DEPLOY / "prometheus/alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    return [target["expr"] for target in targets()] + [alert["expr"] for alert in alerts()]


def problems(expression: str, exported: Exported) -> Iterator[str]:
    """What is wrong with an expression: brackets, names, and labels that its metrics lack."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    open_ones = []
    for bracket in re.findall(r"[][(){}]", bare):
        if bracket in "([{":
            open_ones.append(bracket)
        elif not open_ones or open_ones.pop() + bracket not in ("()", "[]", "{}"):
            yield "brackets"
    if open_ones:
        yield "brackets"
    bare = re.sub(r"\[[^]]*\]|offset \w+", " ", bare)
    labels = {label for group in re.findall(r"\bby \(([^)]*)\)", bare) for label in re.findall(r"\w+", group)}
    known: set[str] = set()
    for name in re.findall(r"[a-zA-Z_]\w*", re.sub(r"\bby \([^)]*\)|\{[^}]*\}", " ", bare)):
        if name in exported:
            known |= exported[name]
        elif name not in KEYWORDS | PROMETHEUS_OWN:
            yield f"no metric {name}"
    for name, matchers in re.findall(r"(\w+)\{([^}]*)\}", bare):
        used = set(re.findall(r"(\w+) *(?:=~|!~|!=|=)", matchers))
        yield from (f"{name} has no label {label}" for label in used - exported.get(name, set()) - ADDED)
    yield from (f"no label {label}" for label in labels - known - ADDED)


@pytest.mark.slow
def test_dashboard_and_alerts_ask_for_metrics_and_labels_that_the_server_exports(exported: Exported) -> None:
    assert len(expressions()) > 40
    wrong = {expression: found for expression in expressions() if (found := list(problems(expression, exported)))}
    assert wrong == {}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("sum(fastim_sessions", "brackets"),
        ("rate(fastim_sessions)[5m)", "brackets"),
        ("fastim_session", "no metric fastim_session"),
        ("rate(fastim_store_commit_seconds[5m])", "no metric fastim_store_commit_seconds"),
        ('fastim_connections{doors="tcp"}', "fastim_connections has no label doors"),
        ("sum by (provider) (rate(fastim_hook_calls_total[5m]))", "no label provider"),
        ("averaged(fastim_sessions)", "no metric averaged"),
    ],
)
def test_a_wrong_expression_would_be_found(expression: str, problem: str, exported: Exported) -> None:
    assert problem in list(problems(expression, exported))


@pytest.mark.slow
def test_legends_and_summaries_name_labels_that_there_are(exported: Exported) -> None:
    every = set().union(*exported.values()) | ADDED
    legends = {name for target in targets() for name in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])}
    texts = [text for alert in alerts() for text in alert["annotations"].values()]
    assert legends <= every
    assert {name for text in texts for name in re.findall(r"\$labels\.(\w+)", text)} <= every


@pytest.mark.slow
def test_the_page_of_metrics_lists_what_is_exported_with_its_labels(exported: Exported) -> None:
    ours = {name: labels for name, labels in exported.items() if name.startswith("fastim_")}
    listed: Exported = {}
    for names, column in re.findall(
        r"^\| (`fastim_[^|]+) \| ([^|]+) \|", (DOCS / "metrics.md").read_text("utf-8"), re.M
    ):
        kind, _, rest = column.partition(",")
        # Values of a label stand behind it in parentheses.
        labels = set(re.findall(r"`(\w+)`", re.sub(r"\([^)]*\)", "", rest)))
        for name in re.findall(r"`(\w+)`", names):
            if kind.strip() == "histogram":
                listed[f"{name}_bucket"] = labels | {"le"}
                listed[f"{name}_sum"] = listed[f"{name}_count"] = labels
            else:
                listed[name] = labels
    assert listed == ours


def test_every_alert_says_what_it_is_about_and_how_bad_it_is() -> None:
    names = [alert["alert"] for alert in alerts()]
    assert len(names) == len(set(names))
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning"), alert
        assert alert["annotations"]["summary"], alert


def test_panels_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not taken & cells, panel["title"]
        taken |= cells


# --- Flags, settings, paths -------------------------------------------------------------------------------------------


def flags_of(*command: str) -> set[str]:
    """The flags that a command of ours has."""
    said = CliRunner().invoke(cli, [*command, "--help"], env={"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb"})
    assert said.exit_code == 0
    return set(re.findall(r"--[a-z-]+", said.output))


def unit() -> dict[str, list[str]]:
    """The settings of the unit, each with what it was given."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "fastim.service").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def test_the_unit_starts_the_server_with_flags_that_it_has() -> None:
    program, command, *rest = shlex.split(unit()["ExecStart"][0])
    assert (Path(program).name, command) == ("fastim", "serve")
    assert {word for word in rest if word.startswith("--")} <= flags_of("serve")


def test_the_unit_keeps_the_data_where_the_server_may_write() -> None:
    words = shlex.split(unit()["ExecStart"][0])
    assert words[words.index("--data") + 1] == f"/var/lib/{unit()['StateDirectory'][0]}"
    assert unit()["ProtectSystem"] == ["strict"]


def test_the_unit_gives_a_stop_longer_than_the_server_takes_for_it() -> None:
    from fastim.app import DRAIN_SECONDS

    assert int(unit()["TimeoutStopSec"][0]) > 3 * DRAIN_SECONDS
    assert unit()["KillMode"] == ["mixed"]  # hooks in Python are another process, which the server ends itself
    assert unit()["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, each on one line."""
    text = re.sub(r"\\\n\s*", "", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_image_has_all_that_it_is_built_from() -> None:
    rules = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [rule[1:] for rule in rules if rule.startswith("!")]
    assert "*" in rules
    assert [path for path in let_in if not (ROOT / path).exists()] == []
    assert {"pyproject.toml", "setup.py", "fastim", "ext", "README.md", "LICENSE"} <= set(let_in)


def test_the_image_runs_the_server_as_nobody_special_on_ports_that_it_shows() -> None:
    last = max(number for number, (word, _) in enumerate(instructions()) if word == "FROM")
    stage = dict(instructions()[last:])
    environment = dict(pair.split("=", 1) for pair in shlex.split(stage["ENV"]))
    assert stage["USER"] == "fastim"
    assert json.loads(stage["ENTRYPOINT"]) + json.loads(stage["CMD"]) == ["fastim", "serve"]
    assert environment["FASTIM_SERVER__DATA"] == stage["VOLUME"]
    ports = [environment[f"FASTIM_SERVER__{door}"].rpartition(":")[2] for door in ("TCP", "HTTP")]
    assert stage["EXPOSE"].split() == ports
    assert f":{ports[1]}/healthz" in stage["HEALTHCHECK"]


def test_compose_fits_the_image() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    service = compose["services"]["fastim"]
    image = dict(instructions())
    assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    assert {port.rpartition(":")[2] for port in service["ports"]} == set(image["EXPOSE"].split())
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    volume, _, place = service["volumes"][0].partition(":")
    assert volume in compose["volumes"]
    assert place == image["VOLUME"]
    assert service["read_only"]


SETTINGS = {field.name for field in describe()}


@pytest.mark.parametrize(
    "path", [DEPLOY / "Dockerfile", DEPLOY / "compose.yaml", DEPLOY / "fastim.service"], ids=lambda path: path.name
)
def test_settings_in_the_environment_are_settings(path: Path) -> None:
    named = re.findall(r"FASTIM_([A-Z]+)__([A-Z_]+)", path.read_text(encoding="utf-8"))
    assert {f"{table}.{key}".lower() for table, key in named if table != "TABLE"} <= SETTINGS


def test_settings_that_are_named_are_settings() -> None:
    tables = "|".join(sorted({name.split(".")[0] for name in SETTINGS}))
    texts = [
        path.read_text(encoding="utf-8") for path in (DEPLOY / "prometheus/alerts.yml", DEPLOY / "grafana/fastim.json")
    ]
    # In prose a file or a host has a dot, too: there a setting stands in backticks.
    named = {name for text in texts for name in re.findall(rf"\b(?:{tables})\.[a-z_]+\b", text)}
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    named |= set(re.findall(rf"`((?:{tables})\.[a-z_]+)`", page))
    assert len(named) > 10
    assert named - {"console.json"} <= SETTINGS


def test_commands_on_the_page_of_operations_have_their_flags() -> None:
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    commands = re.findall(r"(?:^|[`/ ])fastim (serve|init|doctor|backup|verify|push test)([^`\n]*)", page)
    assert len(commands) > 5
    for command, rest in commands:
        assert set(re.findall(r"--[a-z-]+", rest)) <= flags_of(*command.split()), (command, rest)
    assert [link for link in re.findall(r"\]\(([^)#]+)", page) if not (DOCS / link).exists()] == []
    files = re.findall(r"\bdeploy/[\w./-]+\w", page)
    assert files
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_metrics_and_limits_on_the_page_of_operations_are_on_the_page_of_metrics() -> None:
    listed = (DOCS / "metrics.md").read_text(encoding="utf-8")
    page = (DOCS / "operations.md").read_text(encoding="utf-8")
    assert [name for name in re.findall(r"`(fastim_\w+)", page) if f"`{name}`" not in listed] == []
