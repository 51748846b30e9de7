"""The command line: quick to answer, honest in its exit codes, and free of TensorFlow."""

import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from lungseg import __version__
from lungseg.__main__ import main
from lungseg.cli.app import program

Cli = Callable[..., Result]
VERBS = [
    "prepare", "split", "train", "evaluate", "infer", "inspect", "export",
    "config", "phantom", "label", "convert", "models",
]  # fmt: skip


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, lungseg: Cli) -> None:
    result = lungseg(verb, "--help")
    assert result.exit_code == 0
    assert f"Example: lungseg {verb}" in result.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_an_example_can_be_copied(verb: str, lungseg: Cli) -> None:
    text = lungseg(verb, "--help").stdout
    paragraphs = [p.strip() for p in text[text.index("Example: ") :].split("\n\n")]
    examples = [p for p in paragraphs if p.startswith(("Example: ", "Or: "))]
    assert all(f": lungseg {verb}" in p and "\n" not in p for p in examples), examples
    assert "Or: " not in examples[0], "the second example has its own paragraph"
    assert "configs/" not in "".join(examples), "there is no configs/ beside an installed lungseg"


def test_help_imports_nothing_heavy() -> None:
    done = run_python(
        "import sys\n"
        "sys.argv = ['lungseg', '--help']\n"
        "from lungseg.cli.app import main\n"
        "try:\n    main()\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'cv2', 'pydantic', 'yaml', 'onnxruntime'}\n"
        "print('heavy:', sorted(heavy & set(sys.modules)))\n"
    )
    assert done.stdout.splitlines()[-1] == "heavy: []", done.stderr


def test_only_training_needs_tensorflow(
    raw: Path, trained_run: Path, config_file: Path, tmp_path: Path
) -> None:
    # With None in its place, importing TensorFlow or Keras is an error.
    work = tmp_path / "work"
    common = ["-c", str(config_file)]
    commands = [
        ["prepare", *common, "--images", str(raw / "images"), "--masks", str(raw / "masks"),
         "-o", str(work / "prepared")],
        ["split", *common, "--input", str(work / "prepared"), "-o", str(work / "dataset")],
        ["evaluate", *common, "--run", str(trained_run), "--data", str(work / "dataset"),
         "-o", str(work / "scores")],
        ["infer", *common, "--run", str(trained_run), str(raw / "images"),
         "-o", str(work / "masks")],
    ]  # fmt: skip
    done = run_python(
        "import sys\n"
        "sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from lungseg.cli.app import program\n"
        f"for command in {commands!r}:\n"
        "    program()(command, standalone_mode=False)\n"
        "loaded = [name for name, module in sys.modules.items() if module is not None]\n"
        "print('tensorflow' in loaded, 'keras' in loaded)\n"
    )
    assert done.stdout.splitlines()[-1:] == ["False False"], done.stderr
    for folder in ("prepared", "dataset", "scores", "masks"):
        assert any((work / folder).iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["prepare", "-s", "prepare.copys=1"], 2, "did you mean 'copies'"),
        (["prepare", "-c", "nowhere.yaml"], 2, "no such config file"),
        (["prepare"], 2, "--images"),
        (["prepare", "--images", "nowhere", "--masks", "nowhere"], 2, "no such folder of images"),
        (["split", "--input", "nowhere"], 2, "no such folder"),
        (["train", "--data", "nowhere", "--run", "r"], 2, "no such folder of slices"),
        (["train", "--resume", "--overwrite"], 2, "exclude each other"),
        (["train", "-s", "train.epochs=many"], 2, "valid integer"),
        (["evaluate", "--run", "nowhere"], 2, "no such run folder"),
        (["evaluate", "--part", "tset"], 2, "'train', 'valid' or 'test'"),
        (["export", "--run", "nowhere"], 2, "there is no such file"),
        (["infer"], 2, "Missing argument"),
        (["nonsense"], 2, "No such command"),
    ],
)
def test_wrong_commands_exit_with_2_and_say_why(
    arguments: list[str], code: int, said: str, lungseg: Cli,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = lungseg(*arguments)
    assert result.exit_code == code
    assert said in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_empty_and_unusable_folders_exit_with_3(tmp_path: Path, lungseg: Cli) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    out = tmp_path / "out"
    for arguments in (
        ("prepare", "--images", empty, "--masks", empty, "-o", out),
        ("split", "--input", empty, "-o", out),
        ("train", "--data", empty, "--run", out),
    ):
        result = lungseg(*arguments)
        assert result.exit_code == 3, result.stderr
        assert str(empty) in result.stderr
        assert not out.exists()


def test_a_bug_exits_with_1_and_shows_its_traceback_only_on_request(
    lungseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr("lungseg.config.loading.load_config", broken)
    result = lungseg("prepare")
    assert (result.exit_code, "RuntimeError: boom" in result.stderr) == (1, True)
    assert "Traceback" not in result.stderr
    assert "Traceback" in lungseg("prepare", "--debug").stderr


def test_ctrl_c_exits_with_130(lungseg: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lungseg.config.loading.load_config", interrupted)
    assert lungseg("prepare").exit_code == 130


def test_ctrl_c_while_arguments_are_read_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("typer.core.TyperGroup.make_context", interrupted)
    monkeypatch.setattr("sys.argv", ["lungseg", "train", "--run", "a b"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 130
    assert "lungseg train --run 'a b' --resume" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["typer", "lungseg.errors", "lungseg.cli.infer"])
def test_ctrl_c_during_an_import_exits_with_130(module: str, tmp_path: Path) -> None:
    program = f"""
import runpy, sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
sys.argv = ["lungseg", "infer", "scan", "-o", "masks"]
runpy.run_module("lungseg", run_name="__main__", alter_sys=False)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 130, done.stderr
    assert "lungseg infer scan -o masks --resume" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["prepare", "--images", "no", "--masks", "no"], 2, "no: there is no such folder"),
        (["evaluate", "--pred", "no"], 2, "need each other"),
        (["train", "-s", "train.epochs=0"], 2, "train.epochs"),
    ],
)
def test_a_failure_is_json_too(
    arguments: list[str], code: int, said: str, lungseg: Cli, tmp_path: Path
) -> None:
    result = lungseg(*arguments, "--json")
    document = json.loads(result.stdout)
    assert result.exit_code == document["exit_code"] == code
    assert said in document["error"]
    assert document["error"] in result.stderr
    assert lungseg(*arguments).stdout == ""


@pytest.mark.parametrize(
    ("interrupted", "goes_on"),
    [
        ("split -o 'my data' --overwrite", "split -o 'my data' --overwrite"),
        ("train --overwrite --run runs/a", "train --run runs/a --resume"),
        ("train --run runs/a --resume", "train --run runs/a --resume"),
        ("infer scan -o 'a b'", "infer scan -o 'a b' --resume"),
    ],
)
def test_ctrl_c_prints_the_command_that_goes_on(
    interrupted: str, goes_on: str, lungseg: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("lungseg.config.loading.load_config", interrupt)
    monkeypatch.setattr("sys.argv", ["lungseg", *shlex.split(interrupted)])
    assert lungseg("prepare").stderr.endswith(f"This command goes on:\n  lungseg {goes_on}\n")


def test_the_version_is_told(lungseg: Cli) -> None:
    assert lungseg("--version").stdout.strip() == f"lungseg {__version__}"
    assert program().info.name == "lungseg"


def test_inspect_prints_the_parameters_of_the_original(lungseg: Cli) -> None:
    config = Path(__file__).parents[2] / "configs" / "original.yaml"
    result = lungseg("inspect", "-c", config)
    assert result.exit_code == 0
    assert "124,996,866 parameters" in result.stdout
    assert "Conv2D" in result.stdout
    assert "Conv2D" not in result.stderr


def test_export_writes_the_model_again(trained_run: Path, lungseg: Cli) -> None:
    before = (trained_run / "model.onnx").stat().st_mtime_ns
    result = lungseg("export", "--run", trained_run)
    assert result.exit_code == 0
    assert (trained_run / "model.onnx").stat().st_mtime_ns > before


def test_a_keras_file_that_is_none_is_refused(
    trained_run: Path, tmp_path: Path, lungseg: Cli
) -> None:
    (tmp_path / "config.yaml").write_text((trained_run / "config.yaml").read_text())
    content = (trained_run / "model.keras").read_bytes()
    (tmp_path / "model.keras").write_bytes(content[: len(content) // 2])
    result = lungseg("export", "--run", tmp_path)
    assert (result.exit_code, "not a usable Keras model" in result.stderr) == (3, True)
