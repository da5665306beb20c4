"""Runs of the load in this process, on a server that is there."""

from fastim.bench import profile
from fastim.bench.driver import Target
from fastim.bench.report import Measured, Report
from fastim.bench.run import Given, run


def make_run(
    text: str, host: str, port: int, app_id: str, *settings: str, http: tuple[str, int] | None = None
) -> Report:
    """What came of a profile, or of the scenario of that name."""
    source = profile.built_in().get(text, text)
    made = profile.parse(source, "profile", settings)
    given = Given("test", made, ["bench"], Target(host, port, app_id), http, None, None, [], pinned=False)
    return run(given, lambda what, share: None)


def measured(report: Report, name: str) -> Measured:
    [found] = [one for one in report.measured if one.name == name]
    return found
