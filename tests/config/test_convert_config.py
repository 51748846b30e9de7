"""An original INI config becomes our YAML, without a line of it being run."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from typer.testing import CliRunner

from lungseg.config.loading import load_config
from lungseg.config.networks import FlexUNetConfig

SCRIPT = Path(__file__).parents[2] / "scripts" / "convert_config.py"

ORIGINAL = """
[model]
model = "TensorFlowFlexUNet"
image_width = 512
image_height = 256
image_channels = 3
num_classes = 2
base_filters = 16
base_kernels = (9,9)
num_layers = 8
dropout_rate = 0.04
dilation = (1,1)
optimizer = "Adam"
learning_rate = 0.00007
clipvalue = 0.4
loss = "categorical_crossentropy"
metrics = ["dice_coef_multiclass"]
show_summary = False
[train]
epochs = 100
batch_size = 2
patience = 10
images_dir = "../../../dataset/Lung/train/images/"
learning_rate_reducer = True
reducer_factor = 0.4
reducer_patience = 4
epoch_change_infer = True
num_infer_images = 6
[mask]
; a comment
mask_file_format = ".png"
rgb_map = {(255,255,255):1,(0,0,0):0,}
"""


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("convert_config", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(script: ModuleType, tmp_path: Path, text: str) -> tuple[int, str, Path]:
    import typer

    source, output = tmp_path / "train_eval_infer.config", tmp_path / "out.yaml"
    source.write_text(text)
    app = typer.Typer()
    app.command()(script.main)
    result = CliRunner().invoke(app, [str(source), "-o", str(output)])
    return result.exit_code, result.stderr, output


def test_the_values_arrive(script: ModuleType, tmp_path: Path) -> None:
    code, said, output = run(script, tmp_path, ORIGINAL)
    assert code == 0
    config = load_config(output)
    assert isinstance(config.model, FlexUNetConfig)
    assert config.model.base_kernels == (9, 9)
    assert config.data.image_size == (256, 512)
    assert config.data.rgb_map == {"background": (0, 0, 0), "lung": (255, 255, 255)}
    assert config.train.learning_rate == 7e-5
    assert config.train.reducer is not None
    assert (config.train.reducer.factor, config.train.reducer.patience) == (0.4, 4)
    assert str(config.data.dataset).endswith("dataset/Lung")
    assert "show_summary" in said
    assert "mask_file_format" in said
    assert "reducer" not in said


def test_nothing_is_evaluated(script: ModuleType, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    text = ORIGINAL.replace('loss = "categorical_crossentropy"', f'loss = open({str(trap)!r}, "w")')
    code, said, _ = run(script, tmp_path, text)
    assert code == 0
    assert "[model] loss" in said
    assert not trap.exists()


def test_a_value_that_makes_no_sense_is_refused(script: ModuleType, tmp_path: Path) -> None:
    code, said, output = run(script, tmp_path, ORIGINAL.replace("epochs = 100", "epochs = -1"))
    assert (code, "train.epochs" in said, output.exists()) == (2, True, False)
    code, said, output = run(script, tmp_path, "no ini file")
    assert (code, output.exists()) == (2, False)
