"""A tab of a browser, in which the tests of a module open their page."""

from collections.abc import Iterator

import pytest

from tests.support.browser import Page, open_browser


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with open_browser() as page:
        yield page
