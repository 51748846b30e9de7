"""Completion in a shell: the commands and options are offered."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("words", "offered"), [("lungseg inf", "infer"), ("lungseg infer --over", "--overlay")]
)
def test_the_shell_is_offered_commands_and_options(words: str, offered: str) -> None:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", "from lungseg.cli import app; app(prog_name='lungseg')"],
        env={**os.environ, **asked, "_LUNGSEG_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert offered in done.stdout.split(), done.stderr
