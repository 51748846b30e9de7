"""A command imports what it needs alone, and ends at once when its work is done."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from lungseg.cli.app import COMMANDS, program
from lungseg.config.loading import load_config
from lungseg.config.schema import Config


def run_main(*arguments: str, before: str = "", **options: Any) -> subprocess.CompletedProcess[str]:
    """Run the program in a process of its own, in which `before` runs first."""
    lines = [before, "import sys", f"sys.argv = {['lungseg', *arguments]}"]
    lines += ["from lungseg.__main__ import main", "main()"]
    options.setdefault("stdout", subprocess.PIPE)
    command = [sys.executable, "-c", "\n".join(lines)]
    # Text must wait in a buffer, as it does by default.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        command, stderr=subprocess.PIPE, text=True, timeout=300, env=env, **options
    )


def test_a_command_imports_neither_the_others_nor_yaml_which_it_does_not_need() -> None:
    listing = (
        "import atexit, sys\n"
        "atexit.register(lambda: print(sorted(name for name in sys.modules\n"
        "    if name == 'yaml' or name.startswith('lungseg.cli.'))))"
    )
    done = run_main("infer", "--dry-run", "nowhere", "-o", "masks", before=listing)
    assert done.returncode == 2, done.stderr
    assert done.stdout == "['lungseg.cli.app', 'lungseg.cli.infer', 'lungseg.cli.options']\n"


def test_without_a_known_command_there_are_all_of_them() -> None:
    for arguments in ([], ["--help"], ["trian"]):
        commands = program(arguments).registered_commands
        assert {command.callback.__name__ for command in commands if command.callback} == set(
            COMMANDS
        )


@pytest.mark.parametrize("arguments", [["--help"], ["--help", "infer"]])
def test_the_help_of_the_program_lists_every_command(arguments: list[str]) -> None:
    done = run_main(*arguments)
    assert done.returncode == 0, done.stderr
    listed = [
        line.split()[0] for line in done.stdout.partition("Commands:")[2].splitlines() if line
    ]
    assert listed == list(COMMANDS)


def test_the_end_runs_what_was_registered_for_it_and_loses_no_output() -> None:
    done = run_main("--version", before="import atexit\natexit.register(print, 'the end')")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("lungseg ")
    assert done.stdout.endswith("\nthe end\n")


# A command that succeeds and writes nothing itself.
SILENT = "import sys, lungseg.cli\nlungseg.cli.main = sys.exit\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        done = run_main(before=SILENT + "sys.stdout.write('late')", stdout=full)
    assert done.returncode == 120  # Python's own status if it cannot write the last output
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_process_without_standard_output_ends_well() -> None:
    done = run_main(before=SILENT + "sys.stdout = None")
    assert (done.returncode, done.stderr) == (0, "")


def test_plugins_of_other_packages_are_not_loaded(tmp_path: Path) -> None:
    # pydantic loads what any installed package declares as its plugin.
    information = tmp_path / "intruder-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: intruder\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("[pydantic]\nintruder = intruder:plugin\n")
    (tmp_path / "intruder.py").write_text("print('loaded')\nplugin = None\n")
    before = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})"
    done = run_main("config", "lung", before=before)
    assert done.returncode == 0, done.stderr
    assert "loaded" not in done.stdout


def test_the_defaults_which_are_not_checked_are_right() -> None:
    unchecked, checked = load_config(), Config.model_validate(load_config().model_dump())
    assert unchecked == checked
    assert not unchecked.model_fields_set
    assert types_of(unchecked) == types_of(checked) == types_of(Config.model_validate({}))


def types_of(value: Any) -> Any:
    """Return the types of a value and of all that it holds."""
    if isinstance(value, BaseModel):
        held = {name: types_of(getattr(value, name)) for name in type(value).model_fields}
    elif isinstance(value, dict):
        held = {key: types_of(each) for key, each in value.items()}
    elif isinstance(value, (list, tuple)):
        held = {str(k): types_of(each) for k, each in enumerate(value)}
    else:
        held = {}
    return type(value), held
