from pathlib import Path

import pytest

from fastim.core import errors
from fastim.core.errors import Closure, CodedError, Refusal

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"
CODED = [
    one
    for one in vars(errors).values()
    if isinstance(one, type) and issubclass(one, CodedError) and hasattr(one, "code")
]


@pytest.mark.parametrize("error", CODED, ids=lambda error: error.__name__)
def test_the_page_of_error_codes_has_every_error(error: type[CodedError]) -> None:
    kind = "closure" if issubclass(error, Closure) else "refusal"
    summary = (error.__doc__ or "").strip().splitlines()[0]
    assert f"| {error.code} | {error.reason} | {kind} | {summary} |\n" in PAGE.read_text()


def test_the_page_of_error_codes_has_no_other() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and line[2].isdigit()]
    assert len(rows) == len(CODED)


def test_a_code_has_one_name() -> None:
    with pytest.raises(TypeError, match="second name"):

        class Other(Refusal, code=4111, reason="SOMETHING_ELSE"):
            """Not to be made."""
