"""The templates of the pages: one is compiled ahead, while something else is done."""

import pytest

from lungseg.reporting.gallery import TEMPLATE
from lungseg.reporting.pages import compile_ahead, environment


def test_a_template_is_compiled_ahead_and_then_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment.cache_clear()
    compile_ahead(TEMPLATE).join()
    monkeypatch.setattr(environment(), "compile", lambda *_: pytest.fail("compiled again"))
    assert environment().get_template(TEMPLATE).name == TEMPLATE
    environment.cache_clear()


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_problem_waits_until_the_page_is_written() -> None:
    compile_ahead("no such template").join()
