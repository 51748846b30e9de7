"""`infer ct.nii.gz -o mask.nii.gz` writes that file, and never over a file of anyone else."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
from typer.testing import Result

from lungseg.imaging.pixels import read_pixels
from tests.support.networks import write_run
from tests.support.outputs import hashes
from tests.support.phantoms import SIDE, write_phantoms
from tests.support.volumes import phantom_volume

Cli = Callable[..., Result]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder with a run, a CT and images, and return it."""
    write_run(tmp_path / "run", SIDE)
    write_phantoms(tmp_path / "raw", patients=2, slices=1, side=SIDE)
    (tmp_path / "ct").mkdir()
    sitk.WriteImage(phantom_volume()[0], str(tmp_path / "ct" / "one.nii.gz"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


IMAGE = "raw/images/patient01_slice01.png"


def visible(place: Path) -> set[str]:
    return {name for name in hashes(place) if not Path(name).name.startswith(".")}


def lower_suffix(path: Path) -> Path:
    """Return a link that ITK can read, which knows suffixes in lower case only."""
    link = path.with_name(f"read_{path.name.lower()}")
    link.symlink_to(path)
    return link


@pytest.mark.parametrize(
    "output", ["mask.nii.gz", "new/deep/mask.nii", "mask.mha", "m.nrrd", "M.NII.GZ", "ct/mask.mha"]
)
@pytest.mark.parametrize("given", ["ct/one.nii.gz", "ct"])
def test_the_mask_of_a_volume_is_that_file(
    given: str, output: str, place: Path, lungseg: Cli
) -> None:
    assert lungseg("infer", "--run", "run", given, "-o", "folder").exit_code == 0
    before = visible(place)
    result = lungseg("infer", "--run", "run", given, "-o", output, "--json")
    assert result.exit_code == 0, result.stderr
    assert visible(place) - before == {output}
    mask = sitk.ReadImage(str(lower_suffix(place / output)))
    expected = sitk.ReadImage("folder/one.nii.gz")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(mask), sitk.GetArrayFromImage(expected))
    assert mask.GetSpacing() == pytest.approx(expected.GetSpacing())
    [row] = json.loads(result.stdout)["cases"]
    assert (row["mask"], row["input"]) == (Path(output).name, "one.nii.gz")
    assert row["lung_volume_ml"] > 0


def test_the_mask_of_an_image_is_that_png(place: Path, lungseg: Cli) -> None:
    assert lungseg("infer", "--run", "run", IMAGE, "-o", "folder").exit_code == 0
    before = visible(place)
    result = lungseg("infer", "--run", "run", IMAGE, "-o", "mask.PNG")
    assert result.exit_code == 0, result.stderr
    assert visible(place) - before == {"mask.PNG"}
    np.testing.assert_array_equal(
        read_pixels(Path("mask.PNG")), read_pixels(Path("folder") / Path(IMAGE).name)
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("raw/images -o mask.png", "2 inputs"),
        ("ct raw/images -o mask.mha", "3 inputs"),
        ("ct -o mask.png", "the mask of a CT volume is written as .nii.gz, .nii, .mha, .nrrd"),
        (f"{IMAGE} -o mask.nii.gz", "the mask of an image is written as .png"),
        ("ct -o mask.dcm", "the mask of a CT volume"),
        (f"{IMAGE} -o mask.tif", "the mask of an image"),
        ("ct -o mask.mha --resume", "only a folder of masks can be resumed"),
        ("ct/one.nii.gz -o ct/one.nii.gz --overwrite", "its own input"),
        ("ct -o link.nii.gz --overwrite", "its own input"),
        ("ct -o theirs.nii.gz", "did not write it"),
        ("ct -o theirs.nii.gz --overwrite", "did not write it"),
        ("ct -o to_theirs.nii.gz --overwrite", "did not write it"),
    ],
)
def test_what_a_mask_file_cannot_be_is_refused(
    arguments: str, said: str, place: Path, lungseg: Cli
) -> None:
    Path("link.nii.gz").symlink_to("ct/one.nii.gz")
    Path("theirs.nii.gz").write_text("mine")
    Path("to_theirs.nii.gz").symlink_to("theirs.nii.gz")
    before = hashes(place)
    for extra in ((), ("--dry-run",)):
        result = lungseg("infer", "--run", "run", *arguments.split(), *extra)
        assert (result.exit_code, said in result.stderr) == (2, True), result.stderr
        assert hashes(place) == before


def test_only_a_mask_that_nobody_changed_is_replaced(place: Path, lungseg: Cli) -> None:
    arguments = ("infer", "--run", "run", "ct", "-o", "ct/mask.nii.gz")
    assert lungseg(*arguments).exit_code == 0
    # The mask is in the input's folder, and is no input.
    result = lungseg(*arguments)
    assert (result.exit_code, "replace it with --overwrite" in result.stderr) == (2, True)
    assert lungseg(*arguments, "--overwrite").exit_code == 0
    mask = place / "ct" / "mask.nii.gz"
    mask.write_bytes(mask.read_bytes() + b"corrected")
    result = lungseg(*arguments, "--overwrite")
    assert (result.exit_code, "changed since" in result.stderr) == (2, True)
    assert mask.read_bytes().endswith(b"corrected")


def test_a_link_stays_one_and_the_file_that_it_names_is_written(place: Path, lungseg: Cli) -> None:
    Path("elsewhere").mkdir()
    Path("link.nii.gz").symlink_to("elsewhere/new.nii")
    for flags in ((), ("--overwrite",)):
        result = lungseg("infer", "--run", "run", "ct", "-o", "link.nii.gz", *flags)
        assert result.exit_code == 0, result.stderr
        assert Path("link.nii.gz").is_symlink()
        assert {name for name in visible(place) if "elsewhere/" in name} == {"elsewhere/new.nii"}


def test_an_input_that_fails_leaves_no_file_and_no_folder(place: Path, lungseg: Cli) -> None:
    Path("bad.mha").write_bytes(b"no volume")
    before = hashes(place)
    result = lungseg("infer", "--run", "run", "bad.mha", "-o", "new/mask.mha")
    assert (result.exit_code, "bad.mha" in result.stderr) == (3, True)
    assert "cases.csv" not in result.stderr
    assert hashes(place) == before
    assert not Path("new").exists()


def test_what_goes_beside_masks_in_a_folder_is_said_to_be_missing(
    place: Path, lungseg: Cli
) -> None:
    settings = ("-s", "infer.probabilities=true", "-s", "infer.dicom_seg=true")
    result = lungseg("infer", "--run", "run", "ct", "-o", "m.mha", "--overlay", *settings)
    assert result.exit_code == 0, result.stderr
    assert "infer.overlay, infer.probabilities, infer.dicom_seg have no effect" in result.stderr
    assert {name for name in visible(place) if not name.startswith(("run", "raw", "ct"))} == {
        "m.mha"
    }


def test_a_folder_with_the_suffix_of_a_file_is_a_folder(place: Path, lungseg: Cli) -> None:
    Path("masks.nii.gz").mkdir()
    assert lungseg("infer", "--run", "run", "ct", "-o", "masks.nii.gz").exit_code == 0
    assert Path("masks.nii.gz/one.nii.gz").is_file()
    assert Path("masks.nii.gz/cases.csv").is_file()
