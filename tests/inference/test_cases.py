"""What a case leaves behind if a part of it fails."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from lungseg.config.schema import Config
from lungseg.errors import DataError
from lungseg.imaging.folders import Input
from lungseg.inference import cases
from lungseg.inference.predictor import Predictor
from tests.support.networks import write_network
from tests.support.volumes import image_of


def fail(*_: Any) -> None:
    raise DataError(None, "cannot be hashed")


def volume(path: Path, value: int = -1000) -> Input:
    sitk.WriteImage(image_of(np.full((4, 30, 30), value, np.int16)), str(path))
    return Input(path, "a", True)


@pytest.fixture
def predictor(tmp_path: Path) -> Predictor:
    return Predictor(write_network(tmp_path / "run", (30, 30)) / "model.onnx")


def test_no_mask_is_left_without_its_origin(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "origin_of", fail)
    (tmp_path / "out").mkdir()
    row = cases.predict_volume(predictor, volume(tmp_path / "a.nii.gz"), tmp_path / "out", Config())
    assert row.failed
    assert "cannot be hashed" in row.detail
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_wrong_with_a_volume_says_more_than_that_it_cannot_be_hashed(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cases, "origin_of", fail)
    item = volume(tmp_path / "a.nii.gz", value=1000)
    row = cases.predict_volume(predictor, item, tmp_path, Config())
    assert "not in Hounsfield units" in row.detail
