"""Environments of their own, made with uv, for tests of what an installation holds."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.places import REPOSITORY


def run_uv(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run uv in the checkout; the test is skipped if it needs an index that cannot be reached."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    assert uv, "uv comes with the extra dev"
    done = subprocess.run(
        [uv, *map(str, arguments)], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    if done.returncode and "fetch" in done.stderr:
        pytest.skip(f"no package index can be reached: {done.stderr[:200]}")
    assert done.returncode == 0, done.stderr
    return done
