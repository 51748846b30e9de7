"""What a person sees at the end of `make demo`."""

import shutil
import subprocess

import pytest

from tests.support.places import REPOSITORY

make = shutil.which("make")


@pytest.mark.skipif(make is None, reason="needs make")
def test_the_demo_ends_by_naming_the_page_to_open() -> None:
    assert make is not None
    command = [make, "--dry-run", "--no-print-directory", "demo"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    commands = done.stdout.splitlines()
    assert commands[-1].startswith('echo "Open demo/run/report.html in a browser')
    assert sum("Open " in command for command in commands) == 1
    # The evaluation before it writes that page.
    assert any("evaluate -c configs/smoke.yaml" in command for command in commands)
