"""Completion in a shell: the commands and options are offered."""

import os
import subprocess
import sys

import pytest

PROGRAM = "import sys; sys.argv = ['lungseg']; from lungseg.__main__ import main; main()"


@pytest.mark.parametrize(
    ("words", "offered"), [("lungseg inf", "infer"), ("lungseg infer --over", "--overlay")]
)
def test_the_shell_is_offered_commands_and_options(words: str, offered: str) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **asked, "_LUNGSEG_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert offered in done.stdout.split(), done.stderr
