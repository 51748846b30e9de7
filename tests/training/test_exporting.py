"""An exported file that differs from Keras by more than 1e-4 is not kept."""

import math
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from lungseg.config.loading import check_config
from lungseg.errors import DataError
from lungseg.training import exporting
from tests.support.phantoms import tiny


@pytest.fixture
def model() -> keras.Model:
    """Return a network whose class scores are 1, so that rounding explains nothing."""
    inputs = keras.Input((8, 8, 1))
    scores = keras.layers.Conv2D(2, 1, kernel_initializer="zeros", bias_initializer="ones")(inputs)
    return keras.Model(inputs, keras.layers.Softmax()(scores))


@pytest.mark.parametrize(
    ("shift", "is_kept"),
    [(0.0, True), (0.9e-4, True), (-0.9e-4, True), (1.1e-4, False), (-1.1e-4, False),
     (0.4, False), (math.nan, False)],
)  # fmt: skip
def test_a_file_may_differ_by_a_ten_thousandth(
    shift: float,
    is_kept: bool,
    model: keras.Model,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = check_config({**tiny(), "data": {"image_size": [8, 8]}}, "test")

    seen: list[np.ndarray] = []

    def write(model: Any, path: Path, format: str) -> None:
        path.write_text("a file")

    def predict(path: Path, format: str, slices: np.ndarray) -> np.ndarray:
        # One pixel of the last slice differs.
        found = np.asarray(model(slices)).copy()
        found[0, 2, 3, 1] += shift * len(seen)
        seen.append(slices)
        return found

    monkeypatch.setattr(exporting, "_export_quietly", write)
    monkeypatch.setattr(exporting, "_predict", predict)
    (tmp_path / "model.onnx").write_text("an earlier file")
    if is_kept:
        found = exporting.export(model, config, tmp_path, "onnx")
        assert found == pytest.approx(abs(shift), abs=1e-7)
    else:
        with pytest.raises(DataError, match="more than rounding explains"):
            exporting.export(model, config, tmp_path, "onnx")
    assert len(seen) == 2
    text = "a file" if is_kept else "an earlier file"
    assert [path.read_text() for path in tmp_path.iterdir()] == [text]
