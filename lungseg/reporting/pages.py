"""HTML pages of one file: they load nothing, and the texts of others are shown, not run."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from threading import Thread
from typing import Any

from lungseg.reporting.overlays import PREDICTION, TRUTH
from lungseg.reporting.pictures import window_tables

# Colours of the outlines in a viewer, and what the key calls them. Left and right can be told
# apart without seeing red and green.
LINES = {
    "left": ("#ffb000", "left lung"),
    "right": ("#45b4ff", "right lung"),
    "lung": ("#ff6fd8", "lung"),
    "other": ("#8dff7a", "other classes"),
    "truth": (f"#{bytes(TRUTH).hex()}", "truth"),
    "prediction": (f"#{bytes(PREDICTION).hex()}", "prediction"),
}


# Where the pictures of the cases are put into a page.
PIECES = "<!-- pictures -->"


@lru_cache(maxsize=1)
def environment() -> Any:
    """Return the Jinja environment of the pages."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("lungseg.reporting"),
        autoescape=True,  # names of files and cases may hold HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {"windows": window_tables(), "lines": LINES}
    return made


def compile_ahead(name: str) -> Thread:
    """Compile a template in a thread of its own; return the thread.

    Importing Jinja and compiling take about as long as opening the network. ONNX Runtime does that
    without Python, so both can be done at once. A problem shows when the page is written.
    """

    def work() -> None:
        with contextlib.suppress(Exception):
            environment().get_template(name)

    thread = Thread(target=work, name=f"compile {name}", daemon=True)
    thread.start()
    return thread


def pictures_script(key: str, json: str) -> str:
    """Return the pictures of a case as an element of a page, on one line.

    Args:
        key: identifies it on the page: letters, digits and `-`.
        json: from `CasePictures.to_json`.
    """
    return f'{SCRIPT}"{key}">{json}</script>\n'


SCRIPT = '<script type="application/json" class="pictures" id='
