"""The packages allowed: the lock agrees with pyproject.toml, and the lowest versions still work.

The newest are what `make setup` takes, and so what all the other tests run on.
"""

import re
import socket
import sys
from pathlib import Path

import pytest
import pytest_socket
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.installing import run_uv
from tests.support.phantoms import write_phantoms
from tests.support.places import REPOSITORY
from tests.support.watch import watch

LOCK = REPOSITORY / ".ci" / "requirements.lock"


def test_the_lock_has_each_dependency_with_hashes_and_in_its_range() -> None:
    tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    locked: dict[str, list[str]] = {}
    for block in re.split(r"\n(?=\S)", LOCK.read_text()):
        pinned = re.match(r"([A-Za-z0-9._-]+)==([^ ;\\]+)", block)
        if pinned:
            assert "--hash=sha256:" in block, block
            locked.setdefault(canonicalize_name(pinned[1]), []).append(pinned[2])
    for text in wanted:
        requirement = Requirement(text)
        versions = locked[canonicalize_name(requirement.name)]
        assert all(v in requirement.specifier for v in versions), (text, versions)


def test_no_test_reaches_beyond_this_machine() -> None:
    with pytest.raises(pytest_socket.SocketConnectBlockedError):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # an address for documentation


@pytest.mark.slow
def test_the_lowest_versions_allowed_do_the_main_job(tmp_path: Path) -> None:
    lowest, python = tmp_path / "lowest.txt", tmp_path / "venv" / "bin" / "python"
    resolution = ("--resolution", "lowest-direct", "-q", "-o", lowest)
    run_uv("pip", "compile", "pyproject.toml", *resolution)
    run_uv("venv", "-q", "--python", sys.executable, tmp_path / "venv")
    run_uv("pip", "install", "-q", "--python", python, "-r", lowest)
    run_uv("pip", "install", "-q", "--python", python, "--no-deps", "-e", REPOSITORY)

    write_phantoms(tmp_path / "raw", patients=6, slices=3, side=128)
    config = REPOSITORY / "configs" / "smoke.yaml"
    for command in (
        "prepare --images raw/images --masks raw/masks -o prepared",
        "split --input prepared -o dataset",
        "train --data dataset --run run -s train.epochs=2",
        "evaluate --run run --data dataset",
        "infer --run run raw/images -o masks",
    ):
        verb, *rest = command.split()
        seen = watch([str(python), "-m", "lungseg", verb, "-c", str(config), *rest], cwd=tmp_path)
        assert seen.code == 0, seen.said
    assert len(list((tmp_path / "masks").glob("*.png"))) == 18
