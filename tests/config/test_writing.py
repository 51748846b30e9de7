"""The configs and the JSON schema in configs/ are what the schema of the package says."""

import json
import re
from pathlib import Path
from typing import Any, get_args, get_origin

import pytest
import yaml
from jsonschema import Draft202012Validator

from lungseg.config.fields import Section
from lungseg.config.loading import dump_config, load_config
from lungseg.config.networks import NETWORK_CONFIGS
from lungseg.config.presets import PRESETS
from lungseg.config.schema import Config
from lungseg.config.strict_yaml import parse_yaml
from lungseg.config.writing import SCHEMA_FILE, json_schema, preset_config
from lungseg.errors import UsageError

CONFIGS = Path(__file__).parents[2] / "configs"


def sections(kind: Any = Config) -> dict[str, type[Section]]:
    """Return every section below a type, by its class's name."""
    if get_origin(kind) is not None:
        parts = [sections(part) for part in get_args(kind)]
        return {name: section for part in parts for name, section in part.items()}
    if not (isinstance(kind, type) and issubclass(kind, Section)):
        return {}
    found = {kind.__name__: kind}
    for field in kind.model_fields.values():
        found |= sections(field.annotation)
    return found


@pytest.mark.parametrize("name", PRESETS)
def test_a_file_in_configs_is_what_the_command_prints(name: str) -> None:
    written = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8")
    assert written == preset_config(name), "run `make configs`"


def test_the_json_schema_in_configs_is_what_the_command_prints() -> None:
    assert (CONFIGS / SCHEMA_FILE).read_text(encoding="utf-8") == json_schema(), "make configs"


def test_configs_holds_nothing_else() -> None:
    assert {path.name for path in CONFIGS.iterdir()} == {
        *(f"{name}.yaml" for name in PRESETS),
        SCHEMA_FILE,
        "label-corrections",  # corrections of labels, by hand (docs/labels.md)
    }


def test_every_key_of_the_schema_has_a_meaning() -> None:
    found = sections()
    assert set(found) >= {"Config", "TrainConfig", "ReducerConfig", "FlexUNetConfig"}
    keys = {
        f"{name}.{key}": field.description
        for name, section in found.items()
        for key, field in section.model_fields.items()
    }
    assert [key for key, meaning in keys.items() if not meaning] == []


@pytest.mark.parametrize("name", PRESETS)
def test_a_written_config_is_plain_narrow_text_and_loads(name: str, tmp_path: Path) -> None:
    text = preset_config(name)
    assert text.isascii()
    assert max(map(len, text.splitlines())) <= 100
    assert text.splitlines()[0] == f"# yaml-language-server: $schema={SCHEMA_FILE}"
    path = tmp_path / "written.yaml"
    path.write_text(text)
    assert isinstance(load_config(path), Config)


@pytest.mark.parametrize("name", PRESETS)
def test_a_written_config_holds_the_values_of_the_preset(name: str) -> None:
    def flat(tree: Any, above: str = "") -> dict[str, Any]:
        if not isinstance(tree, dict) or not tree:
            return {above.removesuffix("."): tree}
        parts = [flat(value, f"{above}{key}.") for key, value in tree.items()]
        return {key: value for part in parts for key, value in part.items()}

    keys = PRESETS[name].keys
    if keys is None:
        expected = Config().model_dump(mode="json")
    else:
        # Nested by its dots, with no help of the code under test.
        expected = {key: getattr(value, "value", value) for key, value in keys.items()}
    assert flat(parse_yaml(preset_config(name), name)) == flat(expected)


def test_comments_are_aligned_and_a_long_one_goes_on_below() -> None:
    lines = preset_config("lung").splitlines()
    assert "  epochs: 60                     # number of epochs, at most" in lines
    start = next(i for i, line in enumerate(lines) if line.startswith("  loss:"))
    assert re.fullmatch(r" {33}# [\w, ]+basnet_hybrid", lines[start + 1])


def test_the_comment_of_a_preset_takes_the_place_of_the_meaning() -> None:
    assert re.search(r"epochs: 12 +# about 5 seconds each\n", preset_config("smoke"))
    assert re.search(r"epochs: 100 +# number of epochs, at most\n", preset_config("original"))


def test_the_rate_is_written_as_a_person_writes_it() -> None:
    assert "learning_rate: 0.00007 " in preset_config("original")
    assert "dropout_rate: 0 " in preset_config("smoke")


def test_classes_with_labels_and_several_colours_are_written_and_read_again(tmp_path: Path) -> None:
    config = load_config(
        None,
        ["data.rgb_map={air: [0, 0, 0], lung: [[9, 9, 9], [7, 7, 7]]}", "data.labels.lung=[3, 4]"],
    )
    (tmp_path / "again.yaml").write_text(dump_config(config))
    again = load_config(tmp_path / "again.yaml")
    assert again == config
    assert again.data.rgb_map["lung"] == ((9, 9, 9), (7, 7, 7))
    assert again.data.labels == {"lung": [3, 4]}


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'orginal'.*lung, original, smoke.*mean original\?"):
        preset_config("orginal")


VALIDATOR = Draft202012Validator(json.loads(json_schema()))


@pytest.mark.parametrize("name", PRESETS)
def test_editors_accept_the_shipped_configs(name: str) -> None:
    Draft202012Validator.check_schema(VALIDATOR.schema)
    config = yaml.safe_load((CONFIGS / f"{name}.yaml").read_text())
    assert [error.message for error in VALIDATOR.iter_errors(config)] == []


@pytest.mark.parametrize(
    "config",
    [
        {"extends": "lung.yaml", "train": {"epochs": 3}},
        {"model": {"base_filters": 8}},
        *({"model": {"name": name, "dropout_rate": 0.1}} for name in NETWORK_CONFIGS),
        {"train": {"reducer": {"factor": 0.5}, "schedule": "constant"}},
        {"train": {"time_budget": "1.5h"}},
    ],
)
def test_editors_accept_what_lungseg_accepts(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "lung.yaml").write_text("seed: 1\n")
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    load_config(tmp_path / "config.yaml")
    assert [error.message for error in VALIDATOR.iter_errors(config)] == []


@pytest.mark.parametrize(
    "config",
    [
        {"trian": {}},
        {"extends": 3},
        {"train": {"epochs": 0}},
        {"train": {"loss": "dise"}},
        {"train": {"time_budget": "60"}},
        {"model": {"name": "attention_unet", "stem_stride": 4}},
        {"model": {"name": "unet"}},
        {"data": {"image_size": [512]}},
    ],
)
def test_editors_refuse_what_lungseg_refuses(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UsageError):
        load_config(tmp_path / "config.yaml")
    assert list(VALIDATOR.iter_errors(config))
