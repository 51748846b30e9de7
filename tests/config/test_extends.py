"""A config may change a few keys of another."""

from pathlib import Path

import pytest

from lungseg.config.loading import load_config
from lungseg.config.networks import AttentionUNetConfig, FlexUNetConfig
from lungseg.config.schema import Config
from lungseg.errors import UsageError


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_sections_merge_by_key_and_other_values_replace(tmp_path: Path) -> None:
    write(
        tmp_path,
        "base.yaml",
        "train: {epochs: 9, batch_size: 2, metrics: [lung_dice, lung_iou]}\n"
        "data: {rgb_map: {air: [0, 0, 0], lung: [9, 9, 9], tumour: [1, 1, 1]},\n"
        "  labels: {lung: [1], tumour: [2]}}\n"
        "augment: {online: {affine: {p: 0.4, rotate: 7}}}\n",
    )
    path = write(
        tmp_path,
        "top.yaml",
        "extends: base.yaml\n"
        "train: {epochs: 3, metrics: [lung_dice]}\n"
        "data: {rgb_map: {none: [0, 0, 0], lung: [255, 255, 255]}, labels: {lung: [2]}}\n"
        "augment: {online: {affine: {p: 0.1}}}\n",
    )
    config = load_config(path, ["train.batch_size=5"])
    assert (config.train.epochs, config.train.batch_size) == (3, 5)
    assert config.train.metrics == ["lung_dice"]
    assert list(config.data.rgb_map) == ["none", "lung"]
    assert config.data.labels == {"lung": [2]}
    assert (config.augment.online.affine.p, config.augment.online.affine.rotate) == (0.1, 7)
    assert load_config(path).train.batch_size == 2


def test_a_chain_is_followed_relative_to_each_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "site/base.yaml", "train: {epochs: 1, batch_size: 1, learning_rate: 1}")
    write(tmp_path, "site/more/middle.yaml", "extends: ../base.yaml\ntrain: {batch_size: 2}")
    write(tmp_path, "top.yaml", "extends: site/more/middle.yaml\ntrain: {learning_rate: 2}")
    monkeypatch.chdir(tmp_path / "site" / "more")
    train = load_config(Path("../../top.yaml")).train
    assert (train.epochs, train.batch_size, train.learning_rate) == (1, 2, 2)


def test_an_absolute_name_works_and_nothing_more_need_be_said(tmp_path: Path) -> None:
    base = write(tmp_path, "a/base.yaml", "seed: 5")
    assert load_config(write(tmp_path, "b/top.yaml", f"extends: {base}")) == Config(seed=5)


def test_another_network_drops_the_parameters_of_the_first(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "model: {name: flexunet, base_kernels: [5, 5], base_filters: 4}")
    top = "extends: base.yaml\nmodel: {name: attention_unet, num_layers: 3}"
    config = load_config(write(tmp_path, "other.yaml", top))
    assert config.model == AttentionUNetConfig(name="attention_unet", num_layers=3)
    for text in ("{name: flexunet, num_layers: 3}", "{num_layers: 3}"):
        config = load_config(write(tmp_path, "same.yaml", f"extends: base.yaml\nmodel: {text}"))
        assert config.model == FlexUNetConfig(
            name="flexunet", base_kernels=(5, 5), base_filters=4, num_layers=3
        )


def test_the_default_network_needs_no_name(tmp_path: Path) -> None:
    write(tmp_path, "base.yaml", "model: {stem_stride: 1}")
    same = write(tmp_path, "same.yaml", "extends: base.yaml\nmodel: {name: resunet}")
    assert load_config(same).model == load_config(None, ["model.stem_stride=1"]).model
    other = write(tmp_path, "other.yaml", "extends: base.yaml\nmodel: {name: unet3plus}")
    assert load_config(other).model.name == "unet3plus"


def test_a_missing_file_names_both(tmp_path: Path) -> None:
    path = write(tmp_path, "top.yaml", "extends: nowhere.yaml")
    with pytest.raises(UsageError) as caught:
        load_config(path)
    assert f"{tmp_path / 'nowhere.yaml'}: there is no such config file" in str(caught.value)
    assert f"{path} extends it" in str(caught.value)


@pytest.mark.parametrize("target", [".", '"a\\0b"'])
def test_what_cannot_be_read_names_both(tmp_path: Path, target: str) -> None:
    path = write(tmp_path, "top.yaml", f"extends: {target}")
    with pytest.raises(UsageError, match="cannot be read") as caught:
        load_config(path)
    assert f"{path} extends it" in str(caught.value)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_cycle_names_both_files(tmp_path: Path, length: int) -> None:
    for number in range(length):
        following = (number + 1) % length
        write(tmp_path, f"{number}.yaml", f"extends: ../{tmp_path.name}/{following}.yaml")
    with pytest.raises(UsageError, match="itself") as caught:
        load_config(tmp_path / "0.yaml")
    assert f"{length - 1}.yaml: extends " in str(caught.value)
    assert "/0.yaml, which extends" in str(caught.value)


@pytest.mark.parametrize("value", ["3", "[a.yaml]", "{a: b}"])
def test_extends_names_one_file(tmp_path: Path, value: str) -> None:
    with pytest.raises(UsageError, match=r"top\.yaml: extends: expected the name of a config"):
        load_config(write(tmp_path, "top.yaml", f"extends: {value}"))


def test_extends_stands_at_the_top_of_a_file_only(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only a config file can extend another"):
        load_config(None, ["extends=base.yaml"])
    with pytest.raises(UsageError, match=r"train\.extends: unknown key"):
        load_config(write(tmp_path, "top.yaml", "train: {extends: base.yaml}"))


def test_an_error_names_the_file_or_override_it_comes_from(tmp_path: Path) -> None:
    base = write(
        tmp_path,
        "base.yaml",
        "train: {epoch: 3, epochs: many, loss: x}\ndata: {image_size: [0, 9]}",
    )
    path = write(tmp_path, "top.yaml", "extends: base.yaml\ntrain: {loss: y}\nextend: 3")
    with pytest.raises(UsageError) as caught:
        load_config(path, ["train.batch_size=0"])
    head, *lines = str(caught.value).splitlines()
    assert head == f"{path}: 6 errors in the config:"
    ends = {line.split(":")[0].strip(): line for line in lines}
    for key in ("train.epoch", "train.epochs", "data.image_size.0"):
        assert ends[key].endswith(f" (in {base})"), ends[key]
    assert ends["train.batch_size"].endswith(" (in --set train.batch_size=0)")
    assert ends["train.loss"].endswith("not 'y'")
    assert ends["extend"].endswith("unknown key; did you mean 'extends'?")
