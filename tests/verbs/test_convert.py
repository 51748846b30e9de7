"""An original INI config becomes our YAML, without a line of it being run."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from lungseg.config.loading import load_config
from lungseg.config.networks import FlexUNetConfig

Cli = Callable[..., Result]

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


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "train_eval_infer.config"
    path.write_text(ORIGINAL)
    return path


def test_the_values_arrive(source: Path, tmp_path: Path, lungseg: Cli) -> None:
    output = tmp_path / "out.yaml"
    result = lungseg("convert", source, "-o", output)
    assert (result.exit_code, result.stdout) == (0, "")
    config = load_config(output)
    assert isinstance(config.model, FlexUNetConfig)
    assert config.model.base_kernels == (9, 9)
    assert config.data.image_size == (256, 512)
    assert config.data.rgb_map == {"background": (0, 0, 0), "lung": (255, 255, 255)}
    assert config.train.learning_rate == 7e-5
    assert config.train.reducer is not None
    assert (config.train.reducer.factor, config.train.reducer.patience) == (0.4, 4)
    assert str(config.data.dataset).endswith("dataset/Lung")


def test_keys_without_counterpart_are_listed_even_with_q(source: Path, lungseg: Cli) -> None:
    said = lungseg("convert", source, "-q").stderr
    assert "not carried over: [model] show_summary = False" in said
    assert "not carried over: [mask] mask_file_format" in said
    assert "reducer" not in said


@pytest.mark.parametrize("arguments", [(), ("-o", "-")])
def test_without_an_output_the_yaml_goes_to_standard_output(
    arguments: tuple[str, ...], source: Path, tmp_path: Path, lungseg: Cli,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    lungseg("convert", source, "-o", tmp_path / "file.yaml")
    result = lungseg("convert", source, *arguments)
    assert result.exit_code == 0
    assert result.stdout == (tmp_path / "file.yaml").read_text()
    assert not (tmp_path / "-").exists()


def test_json_is_one_document(source: Path, lungseg: Cli) -> None:
    document = json.loads(lungseg("convert", source, "--json").stdout)
    assert document["output"] is None
    assert document["config"]["train"]["epochs"] == 100
    assert any("show_summary" in line for line in document["not_carried_over"])


def test_a_file_that_exists_is_not_replaced_unasked(
    source: Path, tmp_path: Path, lungseg: Cli
) -> None:
    output = tmp_path / "mine.yaml"
    output.write_text("mine")
    for flags in ((), ("--overwrite",)):
        result = lungseg("convert", source, "-o", output, *flags)
        assert (result.exit_code, "did not write it" in result.stderr) == (2, True)
        assert output.read_text() == "mine"


def test_what_was_converted_is_replaced_until_someone_edits_it(
    source: Path, tmp_path: Path, lungseg: Cli
) -> None:
    output = tmp_path / "converted.yaml"
    assert lungseg("convert", source, "-o", output).exit_code == 0
    assert load_config(output).train.epochs == 100
    result = lungseg("convert", source, "-o", output)
    assert (result.exit_code, "--overwrite" in result.stderr) == (2, True)
    source.write_text(ORIGINAL.replace("epochs = 100", "epochs = 50"))
    assert lungseg("convert", source, "-o", output, "--overwrite").exit_code == 0
    assert load_config(output).train.epochs == 50
    edited = output.read_text().replace("epochs: 50", "epochs: 7")
    output.write_text(edited)
    result = lungseg("convert", source, "-o", output, "--overwrite")
    assert (result.exit_code, "was changed" in result.stderr) == (2, True)
    assert output.read_text() == edited


def test_nothing_is_evaluated(source: Path, tmp_path: Path, lungseg: Cli) -> None:
    trap = tmp_path / "trap"
    text = ORIGINAL.replace('loss = "categorical_crossentropy"', f'loss = open({str(trap)!r}, "w")')
    source.write_text(text)
    result = lungseg("convert", source)
    assert (result.exit_code, "[model] loss" in result.stderr) == (0, True)
    assert not trap.exists()


def test_a_value_that_makes_no_sense_is_refused(source: Path, tmp_path: Path, lungseg: Cli) -> None:
    output = tmp_path / "out.yaml"
    for text, reason in (
        (ORIGINAL.replace("epochs = 100", "epochs = -1"), "train.epochs"),
        ("no ini file", "not a usable INI file"),
    ):
        source.write_text(text)
        result = lungseg("convert", source, "-o", output)
        assert result.exit_code == 2
        assert reason in result.stderr
        assert str(source) in result.stderr
        assert not output.exists()
    result = lungseg("convert", tmp_path / "nowhere.config", "-o", output)
    assert (result.exit_code, "no such config file" in result.stderr) == (2, True)


def test_the_source_is_never_replaced(source: Path, lungseg: Cli) -> None:
    before = source.read_text()
    result = lungseg("convert", source, "-o", source, "--overwrite")
    assert (result.exit_code, "its own input" in result.stderr) == (2, True)
    assert source.read_text() == before


@pytest.mark.parametrize("colours", ["{0: 0, 1: 1}", "{(0,0,0): 0, (1,1,1): 'x'}"])
def test_colours_that_make_no_sense_are_listed(colours: str, source: Path, lungseg: Cli) -> None:
    source.write_text(f"[mask]\nrgb_map = {colours}\n")
    result = lungseg("convert", source, "--json")
    assert result.exit_code == 0, result.stderr
    assert "rgb_map" in result.stderr
    document = json.loads(result.stdout)
    assert document["config"]["data"]["rgb_map"]["lung"] == [255, 255, 255]
    assert len(document["not_carried_over"]) == 1
