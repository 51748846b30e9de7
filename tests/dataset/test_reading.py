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
