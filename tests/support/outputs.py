"""A place with inputs, and with an output of every command that needs no training."""

import hashlib
import os
import shutil
from pathlib import Path

from typer.testing import CliRunner, Result

from lungseg.cli.app import program
from lungseg.config.loading import check_config, dump_config
from lungseg.dataset.reading import read_layout
from lungseg.training.run_folder import write_data_list
from tests.support.networks import write_run
from tests.support.phantoms import tiny, write_phantoms

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
    return CliRunner().invoke(program(), [str(argument) for argument in arguments])


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


def write_place(place: Path) -> None:
    """Write the inputs, and run the commands."""
    place.mkdir()
    write_phantoms(place / "raw", patients=5, slices=1, side=SIDE)
    write_run(place / "run", SIDE)
    given = tiny()
    given["data"]["image_size"] = [SIDE, SIDE]
    config = check_config(given, "tiny")
    (place / "tiny.yaml").write_text(dump_config(config))
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
        write_data_list(Path("run/data.csv"), read_layout(Path("dataset"), config))
        done("evaluate -c tiny.yaml --pred masks --truth raw/masks -o scores")
        done(f"{READS['phantom']} drawn")
        Path("mine/notes").mkdir(parents=True)
        Path("mine/notes/patient01_slice01.png").write_text("mine")
        Path("mine/cases.csv").write_text("case\nmine")
    finally:
        os.chdir(before)
