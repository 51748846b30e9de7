"""`lungseg config`, and configs from standard input."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lungseg.cli.app import program
from lungseg.config.loading import check_config, dump_config
from lungseg.config.writing import preset_config
from tests.support.phantoms import tiny

Cli = Callable[..., Result]


def test_it_has_help_with_an_example(lungseg: Cli) -> None:
    result = lungseg("config", "--help")
    assert result.exit_code == 0
    assert "Example: lungseg config" in result.stdout
    assert "[lung|original|smoke]" in result.stdout


def test_without_a_name_it_prints_the_default(lungseg: Cli) -> None:
    result = lungseg("config")
    assert (result.exit_code, result.stdout) == (0, preset_config("lung"))
    assert lungseg("config", "smoke").stdout == preset_config("smoke")


def test_it_prints_a_json_schema(lungseg: Cli) -> None:
    assert "train" in json.loads(lungseg("config", "--schema").stdout)["properties"]


def test_an_unknown_name_is_a_usage_error(lungseg: Cli) -> None:
    result = lungseg("config", "lang")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "there are lung, original, smoke. Did you mean lung?" in result.stderr


def test_its_help_does_not_load_the_schema() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; sys.argv = ['lungseg', 'config', '--help']\n"
            "from lungseg.cli import main\n"
            "try:\n    main()\nexcept SystemExit:\n    pass\n"
            "print(sorted({'lungseg.config.schema', 'yaml', 'numpy'} & set(sys.modules)))",
        ],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


def given(text: str | bytes, *arguments: object) -> Result:
    return CliRunner().invoke(program(), [str(argument) for argument in arguments], input=text)


def test_a_config_comes_from_standard_input(dataset: Path, tmp_path: Path) -> None:
    text = dump_config(check_config(tiny(), "t"))
    arguments = ("train", "-c", "-", "--dry-run", "--data", dataset, "--run", tmp_path / "run")
    result = given(text, *arguments)
    assert result.exit_code == 0, result.stderr
    assert "resunet would be trained on" in result.stderr
    result = given(text, *arguments, "-s", "model.name=unet3plus")
    assert "unet3plus would be trained on" in result.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {epoch: 3}", "standard input: 1 error in the config:\n  train.epoch: unknown key"),
        ("train: [", "standard input, line 1, column 9: this is not a usable YAML file"),
        (b"\xff", "standard input: the config cannot be read"),
    ],
)
def test_what_is_wrong_in_standard_input_is_named(text: str | bytes, said: str) -> None:
    result = given(text, "train", "-c", "-", "--dry-run")
    assert (result.exit_code, said in result.stderr) == (2, True), result.stderr


def test_extends_in_standard_input_is_relative_to_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base.yaml").write_text("train: {epoch: 3}")
    monkeypatch.chdir(tmp_path)
    result = given("extends: base.yaml", "train", "-c", "-", "--dry-run")
    assert "train.epoch: unknown key; did you mean 'epochs'? (in base.yaml)" in result.stderr
    # The name of standard input means a file where it is extended.
    result = given("extends: '-'", "train", "-c", "-", "--dry-run")
    assert "-: there is no such config file (standard input extends it)" in result.stderr


def test_a_terminal_as_standard_input_is_refused(
    lungseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("lungseg.config.loading.sys.stdin", Terminal())
    from lungseg.config.loading import load_config
    from lungseg.errors import UsageError

    with pytest.raises(UsageError, match=r"that is the terminal.*lungseg config lung \| lungseg"):
        load_config(Path("-"))
