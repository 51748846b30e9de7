"""`infer --resume` keeps a mask only if input, model and settings are what it was made from."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import SimpleITK as sitk  # noqa: N813 - its documented name
from PIL import Image
from typer.testing import Result

from lungseg.errors import DataError
from lungseg.inference.origins import sha256_of
from lungseg.system.tables import read_csv, write_csv
from lungseg.system.written import LIST
from tests.support.volumes import phantom_volume

Lungseg = Callable[..., Result]


@pytest.fixture
def inputs(raw: Path, tmp_path: Path) -> Path:
    """Return a folder of two images and a volume."""
    folder = tmp_path / "in"
    folder.mkdir()
    for path in sorted((raw / "images").iterdir())[:2]:
        shutil.copy(path, folder)
    sitk.WriteImage(phantom_volume(2)[0], str(folder / "scan.mha"))
    return folder


@pytest.fixture
def resumed(
    trained_run: Path, inputs: Path, tmp_path: Path, lungseg: Lungseg
) -> Callable[..., tuple[set[str], str]]:
    """Segment; return a function that resumes and returns the masks made again and the log."""
    model = tmp_path / "model"
    model.mkdir()
    for name in ("model.onnx", "model.json"):
        shutil.copy(trained_run / name, model)
    arguments = ("infer", "--model", model / "model.onnx", inputs, "-o", tmp_path / "out")
    assert lungseg(*arguments).exit_code == 0

    def resume(*more: object) -> tuple[set[str], str]:
        masks = [path for path in (tmp_path / "out").iterdir() if path.suffix in (".png", ".mha")]
        before = {path: path.stat().st_mtime_ns for path in masks}
        result = lungseg(*arguments, "--resume", *more)
        assert result.exit_code == 0, result.stderr
        assert len(read_csv(tmp_path / "out" / "cases.csv")) == len(masks) == 3
        return {p.name for p in masks if p.stat().st_mtime_ns != before[p]}, result.stderr

    return resume


def test_nothing_is_made_again_without_a_change(
    resumed: Callable[..., tuple[set[str], str]],
) -> None:
    again, log = resumed("-s", "infer.threads=1", "-s", "infer.batch_size=1")
    assert not again
    assert "3 cases are done already" in log


def test_another_input_under_the_same_name_is_segmented(
    resumed: Callable[..., tuple[set[str], str]], inputs: Path
) -> None:
    image = sorted(inputs.glob("*.png"))[0]
    Image.open(image).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(image)
    again, log = resumed()
    assert again == {image.name}
    assert "because the input changed: 1" in log
    assert "2 cases are done already" in log


def test_another_model_segments_everything_again(
    resumed: Callable[..., tuple[set[str], str]], tmp_path: Path
) -> None:
    # A byte more leaves the description as it was.
    with (tmp_path / "model" / "model.json").open("a") as stream:
        stream.write("\n")
    again, log = resumed()
    assert len(again) == 3
    assert "because the model changed: 3" in log


def test_other_settings_segment_everything_again(
    resumed: Callable[..., tuple[set[str], str]],
) -> None:
    again, log = resumed("-s", "infer.flips=true", "-s", "infer.sides=true")
    assert len(again) == 3
    assert "because the settings changed: 3" in log


def test_masks_of_an_older_version_stay(
    resumed: Callable[..., tuple[set[str], str]], tmp_path: Path
) -> None:
    table = tmp_path / "out" / "cases.csv"
    rows = [
        {k: cell for k, cell in row.items() if not k.endswith("_sha256") and k != "network"}
        for row in read_csv(table)
    ]
    write_csv(table, list(rows[0]), rows)
    (tmp_path / "out" / LIST).unlink()
    again, log = resumed()
    assert not again
    assert "stay, although cases.csv does not say what they were made from: 3" in log


def test_the_hash_of_a_file_is_its_sha256(
    resumed: Callable[..., tuple[set[str], str]], inputs: Path, tmp_path: Path
) -> None:
    for row in read_csv(tmp_path / "out" / "cases.csv"):
        content = (inputs / row["input"]).read_bytes()
        assert row["input_sha256"] == hashlib.sha256(content).hexdigest()


def test_what_is_no_file_is_not_read_for_its_hash() -> None:
    # Reading a pipe or a device may never end. This one would end at once.
    with pytest.raises(DataError, match="found a folder, a pipe or a device"):
        sha256_of(Path("/dev/null"))


def test_a_slice_more_in_a_dicom_folder_is_another_input(tmp_path: Path) -> None:
    folder = tmp_path / "scan"
    folder.mkdir()
    (folder / "1.dcm").write_bytes(b"1")
    first = sha256_of(folder)
    (folder / "2.dcm").write_bytes(b"2")
    second = sha256_of(folder)
    (folder / "2.dcm").write_bytes(b"3")
    third = sha256_of(folder)
    (folder / "2.dcm").rename(folder / "3.dcm")
    assert len({first, second, third, sha256_of(folder)}) == 4


def test_a_mask_corrected_by_hand_stays_whatever_changed(
    resumed: Callable[..., tuple[set[str], str]], inputs: Path, tmp_path: Path
) -> None:
    name = sorted(path.name for path in inputs.glob("*.png"))[0]
    mask = tmp_path / "out" / name
    Image.open(mask).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(mask)
    corrected = mask.read_bytes()
    again, log = resumed("-s", "infer.flips=true")
    assert mask.read_bytes() == corrected
    assert len(again) == 2
    assert "not as lungseg wrote them and stay, although the settings changed: 1" in log
