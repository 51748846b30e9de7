"""A list of slices that was damaged is an error, and no slice gets lost."""

import shutil
from pathlib import Path

import pytest

from lungseg.config.schema import Config
from lungseg.dataset.reading import read_layout, read_manifest
from lungseg.errors import DataError


def test_a_slice_of_an_unknown_part_is_not_left_out(
    dataset: Path, tiny_config: Config, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(dataset, tmp_path / "dataset"))
    listing = copy / "split.csv"
    listing.write_text(listing.read_text().replace("\ntrain,", "\ntrian,", 1))
    with pytest.raises(DataError, match=r"split\.csv: .* the part 'trian'.* train, valid, test"):
        read_layout(copy, tiny_config)


@pytest.mark.parametrize("fraction", ["nan", "inf", "-0.1", "1.01"])
def test_a_lung_fraction_is_a_share(fraction: str, prepared: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(prepared, tmp_path / "prepared"))
    manifest = copy / "manifest.csv"
    header, first, *others = manifest.read_text().splitlines()
    cells = first.split(",")
    cells[header.split(",").index("lung_fraction")] = fraction
    manifest.write_text("\n".join([header, ",".join(cells), *others]) + "\n")
    with pytest.raises(DataError, match=rf"lung_fraction of {cells[0]} .*{fraction}"):
        read_manifest(copy)


def test_slices_without_a_list_say_their_share_of_lung(
    dataset: Path, tiny_config: Config, tmp_path: Path
) -> None:
    listed = {s.case: s for s in read_layout(dataset, tiny_config)["train"]}
    copy = Path(shutil.copytree(dataset, tmp_path / "dataset"))
    (copy / "split.csv").unlink()
    found = read_layout(copy, tiny_config)["train"]
    assert {s.case for s in found} == set(listed)
    assert max(s.lung_fraction for s in found) > 0.1
    for each in found:
        same = listed[each.case]
        assert each.lung_fraction == pytest.approx(same.lung_fraction, abs=1e-6)
        assert (each.sha256, each.likeness) == (same.sha256, same.likeness)
        assert each.group == same.group  # by the name of the file
