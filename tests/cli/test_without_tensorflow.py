"""Where TensorFlow is not installed, every command works but train, inspect and export."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.outputs import READS, hashes
from tests.support.places import REPOSITORY

# What `pip install .` installs and `requirements-inference.txt` leaves out.
LEFT_OUT = {"keras", "onnx", "tensorboard", "tensorflow", "tensorflow-cpu", "tf2onnx"}

NEED_IT = {
    "train": f"{READS['train']} new",
    "inspect": "inspect -c tiny.yaml",
    "export": "export --run run",
}
OTHERS = {
    **{name: f"{command} out/{name.replace(' ', '_')}" for name, command in READS.items()},
    "infer a file": f"{READS['infer a file']} out/mask.png",
    "a dry run of train": f"{READS['train']} new --dry-run",
    "config": "config lung",
}
del OTHERS["train"]

# Runs each command that it is given in one process in which these packages cannot be imported.
RUN = """
import json, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from typer.testing import CliRunner
from lungseg.cli.app import program

results = {}
for name, command in json.load(sys.stdin).items():
    result = CliRunner().invoke(program(), command.split())
    results[name] = (result.exit_code, result.stderr)
print(json.dumps(results))
"""


def run_without(commands: dict[str, str], place: Path) -> dict[str, tuple[int, str]]:
    """Return exit code and standard error of each command."""
    done = subprocess.run(
        [sys.executable, "-c", f"ABSENT = {LEFT_OUT!r}\n{RUN}"],
        input=json.dumps(commands),
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results: dict[str, tuple[int, str]] = json.loads(done.stdout.splitlines()[-1])
    return results


def test_every_command_works_that_needs_none_and_the_others_say_what_to_install(
    place: Path,
) -> None:
    (place / "out").mkdir()
    (place / "run" / "model.keras").touch()  # no further than this gets `export`
    before = hashes(place / "run")
    results = run_without({**OTHERS, **NEED_IT}, place)
    failed = {name: results[name] for name in OTHERS if results[name][0]}
    assert not failed
    for name in NEED_IT:
        code, said = results[name]
        assert code == 2, said
        assert re.search(r"needs TensorFlow, which is not installed: .* pip install \.", said), said
    assert not (place / "new").exists()
    assert hashes(place / "run") == before


def test_the_packages_for_inference_are_those_of_the_project_without_tensorflow() -> None:
    tomllib = pytest.importorskip("tomllib", reason="comes with Python 3.11")
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    text = (REPOSITORY / "requirements-inference.txt").read_text()
    listed = [line for line in text.splitlines() if not line.startswith("#")]

    def name_of(requirement: str) -> str:
        return re.split(r"[<>=!~ ;\[]", requirement)[0]

    assert listed == [each for each in project["dependencies"] if name_of(each) not in LEFT_OUT]
    assert {name_of(each) for each in project["dependencies"]} - set(map(name_of, listed)) == (
        LEFT_OUT
    )
