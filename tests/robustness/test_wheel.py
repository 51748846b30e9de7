"""What `pip install` puts down is whole: the wheel, away from the checkout, does what README shows.

The shell blocks of README in which each command is `lungseg` are run in order, in one folder.
What a command reads and no earlier one wrote is provided under README's name: phantoms, and the run
of `make demo`. Trainings are cut to one epoch of small slices.
"""

import itertools
import re
import shlex
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name

from lungseg import __version__
from tests.support.dicom_files import write_series
from tests.support.installing import run_uv
from tests.support.places import REPOSITORY
from tests.support.sealed import require_namespace, watch_privacy
from tests.support.volumes import phantom_volume
from tests.support.watch import Watched, watch

pytestmark = pytest.mark.slow

# For the verbs that read the key; `infer` learns the size from the model.
SMALL = {
    "prepare": "-s data.image_size='[128, 128]'",
    "split": "-s data.image_size='[128, 128]'",
    "train": "-s data.image_size='[128, 128]' -s train.epochs=1 -s train.samples_per_epoch=16",
    "evaluate": "-s evaluate.bootstrap=50",
}
# README's name for an input: what `lungseg phantom` has to draw, and which of its folders it is.
SLICES, VOLUME = "--patients 8 --slices 3 --size 128", "--patients 1 --slices 6 --size 64 --volumes"
PHANTOMS = {
    "ct": (SLICES, "images"),
    "lungs": (SLICES, "masks"),
    "new_ct": (VOLUME, "images"),
    "scan": (VOLUME, "images"),
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run_uv("build", "-q", "--wheel", "-o", folder, REPOSITORY)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the folder of a fresh environment in which only the wheel is installed."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    run_uv("venv", "-q", "--python", sys.executable, folder)
    run_uv("pip", "install", "-q", "--python", folder / "bin" / "python", wheel)
    yield folder
    shutil.rmtree(folder)  # 2 GB


def run(command: str, environment: Path, folder: Path) -> Watched:
    """Run a shell command in `folder`, with the programs of the environment, and see it succeed."""
    path = f"{environment / 'bin'}:/usr/bin:/bin"
    env = {"PATH": path, "PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
    seen = watch(["bash", "-c", command], cwd=folder, env=env)
    assert seen.code == 0, f"{command}\n{seen.said}"
    return seen


def commands_of(readme: str) -> list[str]:
    """Return the commands of the shell blocks in which each command is `lungseg`."""
    commands = []
    for block in re.findall(r"^```sh\n(.*?)^```", readme, flags=re.DOTALL | re.MULTILINE):
        # A line that ends with a backslash goes on in the next one.
        shown = re.findall(r"^(?:.*\\\n)*.+$", block, flags=re.MULTILINE)
        if all(command.startswith("lungseg ") for command in shown):
            commands += shown
    return commands


def provide(command: str, environment: Path, trained_run: Path, folder: Path) -> None:
    """Make the inputs of a command that nothing before it has made."""
    words = shlex.split(command, comments=True)
    for option, word in itertools.pairwise(words):
        target = folder / word
        if option in ("-o", "--output") or target.exists():
            continue
        if word == "demo/run":
            shutil.copytree(trained_run, target)
        elif word.rstrip("/") in PHANTOMS:
            options, kind = PHANTOMS[word.rstrip("/")]
            run(f"lungseg phantom -o .phantoms {options} --overwrite", environment, folder)
            (folder / ".phantoms" / kind).rename(target)


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    strays = {
        name
        for name in names
        if not re.fullmatch(r"lungseg/([\w/]+\.(py|json|yaml|html\.j2|js|css)|py\.typed)", name)
        and not re.fullmatch(r"lungseg/shipped/[\w-]+\.(onnx|keras|json|csv|yaml|md)", name)
        and not name.startswith(f"lungseg-{__version__}.dist-info/")
    }
    assert strays == set()
    files = [path for path in (REPOSITORY / "lungseg").rglob("*") if path.is_file()]
    package = {str(p.relative_to(REPOSITORY)) for p in files if "__pycache__" not in p.parts}
    assert package - names == set()


def test_the_wheel_holds_the_network_as_it_is_here(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name in ("model.onnx", "model.json", "model.keras", "model-card.md", "data.csv"):
            here = (REPOSITORY / "lungseg" / "shipped" / name).read_bytes()
            assert archive.read(f"lungseg/shipped/{name}") == here, name


def test_an_installation_segments_without_a_further_step_and_without_a_network(
    environment: Path, tmp_path: Path
) -> None:
    require_namespace()
    scan, lung = phantom_volume(slices=12, side=128)
    (tmp_path / "given").mkdir()
    sitk.WriteImage(scan, str(tmp_path / "given" / "nifti.nii.gz"))
    write_series(tmp_path / "given" / "dicom", sitk.GetArrayFromImage(scan), step=25.0)
    package = next(environment.glob("lib/python*/site-packages/lungseg"))
    before = {path: path.stat().st_mtime_ns for path in (package / "shipped").iterdir()}
    program = ["env", "-u", "PYTHONPATH", environment / "bin" / "lungseg"]
    command = [*map(str, program), "infer", "given", "-o", "out"]
    seen = watch_privacy(command, tmp_path)
    assert seen.code == 0, seen.said
    assert "network: the shipped one" in seen.said
    assert seen.sent == []
    truth = sitk.GetArrayFromImage(lung) > 0
    for name in ("nifti", "dicom"):
        mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / f"{name}.nii.gz"))) > 0
        assert mask.shape == truth.shape
        assert 2 * (mask & truth).sum() > 0.9 * (mask.sum() + truth.sum()), name
    assert {path: path.stat().st_mtime_ns for path in (package / "shipped").iterdir()} == before


def test_the_program_runs_away_from_the_checkout(environment: Path, tmp_path: Path) -> None:
    assert run("lungseg --version", environment, tmp_path).said == f"lungseg {__version__}\n"
    where = run("python -c 'import lungseg; print(lungseg.__file__)'", environment, tmp_path).said
    assert Path(where.strip()).is_relative_to(environment)
    printed = run("lungseg config lung", environment, tmp_path).said
    assert printed == (REPOSITORY / "configs" / "lung.yaml").read_text(encoding="utf-8")
    run("lungseg phantom -o ct --volumes --patients 1 --slices 8 --size 64", environment, tmp_path)
    run("lungseg label ct/images -o labelled", environment, tmp_path)
    assert (tmp_path / "labelled" / "masks" / "patient01.nii.gz").exists()
    (tmp_path / "old.config").write_text("[train]\nepochs = 7\n")
    assert "epochs: 7" in run("lungseg convert old.config", environment, tmp_path).said


def test_what_readme_shows_works_from_the_wheel(
    environment: Path, trained_run: Path, tmp_path: Path
) -> None:
    commands = commands_of((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    verbs = {command.split()[1] for command in commands}
    assert {"prepare", "split", "train", "evaluate", "infer"} <= verbs
    for command in commands:
        verb = command.split()[1]
        provide(command, environment, trained_run, tmp_path)
        # README's own options come later, and win.
        quick = command.replace(f"lungseg {verb} ", f"lungseg {verb} {SMALL.get(verb, '')} ", 1)
        run(quick, environment, tmp_path)
    assert list(tmp_path.rglob("report.html")), "the report's template is in the wheel"
