"""No command destroys what it reads, or what it did not write, whatever the options say."""

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lungseg.cli.app import app
from lungseg.config.loading import check_config, dump_config
from tests.support.network import write_run
from tests.support.phantoms import tiny, write_phantoms

Cli = Callable[..., Result]

SIDE = 32
READS = {
    "prepare": "prepare -c tiny.yaml --images raw/images --masks raw/masks -o",
    "split": "split -c tiny.yaml --input prepared -o",
    "train": "train -c tiny.yaml --data dataset --run",
    "evaluate a run": "evaluate -c tiny.yaml --run run --data dataset -o",
    "evaluate masks": "evaluate -c tiny.yaml --pred masks --truth raw/masks --against scores -o",
    "infer": "infer -c tiny.yaml --run run raw/images -o",
    "infer a file": "infer -c tiny.yaml --model run/model.onnx raw/images/patient01_slice01.png -o",
    "label": "label ct -o",
    "phantom": "phantom --patients 1 --slices 1 --size 32 -o",
    "convert": "convert original.config -o",
}
# What earlier commands wrote. A command may replace its own, unless it reads it.
WROTE = {
    "prepared": "prepare",
    "dataset": "split",
    "masks": "infer",
    "scores": "evaluate",
    "drawn": "phantom",
}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def done(command: str) -> None:
    result = run(*command.split())
    assert result.exit_code == 0, (command, result.stderr)


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of each file, and where each link leads."""
    found = {}
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root) / name
            if path.is_symlink():
                found[str(path.relative_to(folder))] = os.readlink(path)
            elif path.is_file():
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(folder))] = digest
    return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a place with inputs, and an output of every command that needs no training."""
    place = tmp_path_factory.mktemp("made") / "place"
    place.mkdir()
    write_phantoms(place / "raw", patients=5, slices=1, side=SIDE)
    write_run(place / "run", SIDE)
    given = tiny()
    given["data"]["image_size"] = [SIDE, SIDE]
    (place / "tiny.yaml").write_text(dump_config(check_config(given, "tiny")))
    (place / "original.config").write_text("[train]\nepochs = 3\n")
    before = Path.cwd()
    os.chdir(place)
    try:
        done("phantom --volumes --patients 1 --slices 8 --size 32 -o volumes")
        Path("ct").mkdir()
        shutil.copy("volumes/images/patient01.nii.gz", "ct")
        shutil.rmtree("volumes")
        for name in ("prepare", "split", "infer"):
            (output,) = (folder for folder, verb in WROTE.items() if verb == name)
            done(f"{READS[name]} {output}")
        done("evaluate -c tiny.yaml --pred masks --truth raw/masks -o scores")
        done(f"{READS['phantom']} drawn")
        Path("mine/notes").mkdir(parents=True)
        Path("mine/notes/patient01_slice01.png").write_text("mine")
        Path("mine/cases.csv").write_text("case\nmine")
    finally:
        os.chdir(before)
    return place


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a copy of that place."""
    copy = Path(shutil.copytree(made, tmp_path / "place", symlinks=True))
    monkeypatch.chdir(copy)
    return copy


def add_links(place: Path) -> None:
    """Add links of both kinds to every input."""
    (place / "links").mkdir()
    for name in ("raw", "raw/images", "prepared", "dataset", "run", "masks", "ct", "mine"):
        (place / "links" / name.replace("/", "_")).symlink_to(place / name)
    (place / "links" / "all").symlink_to("..")
    shutil.copytree("raw/images", "hard", copy_function=os.link)
    for name in ("original.config", "raw/images/patient01_slice01.png"):
        os.link(name, f"hard_{Path(name).name}")
        (place / "links" / Path(name).name).symlink_to(place / name)


def targets(place: Path) -> list[str]:
    """Return every folder and some files that are there, by several names."""
    folders = [name for name in os.listdir(place) if (place / name).is_dir()]
    inner = ["raw/images", "raw/masks", "dataset/train/images", "prepared/images", "mine/notes"]
    links = [f"links/{name}" for name in os.listdir(place / "links")]
    other_names = [".", "..", str(place / "raw"), "raw/../run", "ct/.", "mine/../prepared"]
    files = ["original.config", "tiny.yaml", "run/model.onnx", "raw/images/patient01_slice01.png"]
    files += [name for name in os.listdir(place) if name.startswith("hard_")]
    return [*folders, *inner, *links, *other_names, *files]


def flags_of(command: str) -> list[tuple[str, ...]]:
    resumes = [("--resume",)] if command.split()[0] in ("train", "infer") else []
    return [(), ("--overwrite",), *resumes]


def is_its_own(command: str, target: str) -> bool:
    """Whether a target is an earlier output of the command, which it does not read."""
    verb, *words = command.split()
    name = Path(target).resolve().name
    return WROTE.get(name) == verb and name not in words


def test_no_output_destroys_what_is_there(place: Path) -> None:
    add_links(place)
    before = hashes(place)
    for command in READS.values():
        for target in targets(place):
            for flags in flags_of(command):
                if flags and is_its_own(command, target):
                    continue
                words = [*command.split(), target, *flags]
                resume = flags == ("--resume",)
                if resume and words[0] == "train" and run(*words, "--dry-run").exit_code == 0:
                    continue  # nothing is in the way, so it would train for long
                result = run(*words)
                assert result.exit_code in ((0, 2) if resume else (2,)), (words, result.stderr)
                after = hashes(place)
                changed = {name for name in before if before[name] != after.get(name)}
                assert not changed, (words, result.stderr)
                new = after.keys() - before.keys()
                assert result.exit_code == 0 or not new, (words, new)
                for name in new:
                    (place / name).unlink()
