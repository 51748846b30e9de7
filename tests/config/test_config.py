"""A config is checked whole, before anything else happens, and says what is wrong."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungseg.config.loading import check_config, dump_config, load_config
from lungseg.config.networks import FlexUNetConfig
from lungseg.config.schema import Config
from lungseg.config.strict_yaml import parse_yaml
from lungseg.errors import UsageError

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_loads(path: Path) -> None:
    assert isinstance(load_config(path), Config)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_key_has_a_comment(path: Path) -> None:
    lines = path.read_text().splitlines()
    keys = [line for line in lines if re.match(r"\s+\w+:", line)]
    assert keys
    assert [line for line in keys if "  #" not in line] == []


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_the_head_says_what_is_needed_and_how_to_run_it(path: Path) -> None:
    head = path.read_text().split("\n\n")[0]
    assert all(word in head for word in ("Needs first:", "Run:", "Override:", "Paths:"))


def test_lung_yaml_spells_out_the_defaults() -> None:
    lung = next(path for path in CONFIGS if path.name == "lung.yaml")
    assert load_config(lung) == Config()
    given = parse_yaml(lung.read_text(), "lung.yaml")
    expected = Config().model_dump(mode="json")
    assert {k: set(v) for k, v in given.items() if isinstance(v, dict)} == {
        k: set(v) for k, v in expected.items() if isinstance(v, dict)
    }


def test_original_yaml_has_the_published_values() -> None:
    config = load_config(next(path for path in CONFIGS if path.name == "original.yaml"))
    assert isinstance(config.model, FlexUNetConfig)
    assert config.data.image_size == (512, 512)
    assert config.data.channels == 3
    assert config.data.rgb_map == {"background": (0, 0, 0), "lung": (255, 255, 255)}
    network = config.model
    assert (network.base_filters, network.base_kernels) == (16, (9, 9))
    assert (network.num_layers, network.dropout_rate, network.dilation) == (8, 0.04, (1, 1))
    train = config.train
    assert (train.optimizer, train.learning_rate, train.clipvalue) == ("adam", 7e-5, 0.4)
    assert (train.batch_size, train.epochs, train.patience) == (2, 100, 10)
    assert train.reducer is not None
    assert (train.reducer.factor, train.reducer.patience) == (0.4, 4)
    assert (train.loss, train.metrics[0]) == ("categorical_crossentropy", "dice_coef_multiclass")


def test_all_errors_are_said_at_once_with_the_nearest_key() -> None:
    with pytest.raises(UsageError) as caught:
        load_config(None, ["train.epoch=3", "trian.x=1", "data.channels=2", "train.epochs=many"])
    message = str(caught.value)
    assert "4 errors" in message
    assert "train.epoch: unknown key; did you mean 'epochs'?" in message
    assert "trian: unknown key; did you mean 'train'?" in message
    assert "data.channels" in message
    assert "train.epochs" in message
    assert "'many'" in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.window=[400, -1000]", "lower HU must be below"),
        ("split.fractions=[0.5, 0.1, 0.1]", "must sum to 1"),
        ("split.group_regex=patient", "parentheses"),
        ("split.group_regex='('", "not a regular expression"),
        ("model.name=unet", "not one of 'flexunet', 'resunet'"),
        ("train.monitor=val_iou", "is not computed"),
        ("train={monitor: last, patience: 3}", "watches no value"),
        ("train.reducer={factor: 0.4}", "both set the learning rate"),
        ("train.learning_rate=.inf", "finite"),
        ("model={name: flexunet, dropout_rate: 0.2}", "at the deepest"),
        ("data.rgb_map={a: [0, 0, 0], b: [0, 0, 0]}", "same colour"),
        ("data.rgb_map={a: [0, 0, 0], b: [[9, 0, 0], [0, 0, 0]]}", "same colour"),
        ("data.rgb_map={a: [0, 0, 0], b: [[9, 0, 0], [300, 0, 0]]}", "data.rgb_map.b.1.0: "),
        ("data.rgb_map={a: [0, 0, 0], b: []}", "data.rgb_map.b.0: Field required"),
        ("data.labels={trachea: [3]}", "'trachea' is not a class of rgb_map: background, lung"),
        ("data.labels={lung: [3], background: [3]}", "a label is given twice"),
        ("data.labels={lung: [0]}", "data.labels.lung.0: "),
        ("data.labels={lung: []}", "data.labels.lung: "),
    ],
)
def test_values_that_make_no_sense_are_refused(override: str, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        load_config(None, [override])


SIDES = {"background": [0, 0, 0], "left lung": [9, 0, 0], "right lung": [0, 9, 0]}


def test_the_dice_of_a_class_may_be_monitored() -> None:
    for name in ("val_dice_left_lung", "dice_right_lung", "val_lung_dice", "val_loss", "last"):
        given = {"data": {"rgb_map": SIDES}, "train": {"monitor": name}}
        assert check_config(given, "test").train.monitor == name


@pytest.mark.parametrize("classes", [SIDES, None])
def test_a_value_that_is_not_computed_is_refused_with_those_that_are(
    classes: dict[str, list[int]] | None,
) -> None:
    data = {} if classes is None else {"rgb_map": classes}
    # The only class of a network has no metric of its own: that is lung_dice.
    computed = ["val_loss", "val_lung_dice", "val_lung_iou"]
    computed += ["val_dice_left_lung", "val_dice_right_lung"] if classes else []
    for name in ("val_dice_lung", "val_dice_left lung", "val_dice_coef_multiclass"):
        given = {"data": data, "train": {"metrics": ["lung_dice", "lung_iou"], "monitor": name}}
        with pytest.raises(UsageError) as caught:
            check_config(given, "test")
        said = f"train: monitor: {name!r} is not computed; there are {', '.join(computed)}, last"
        assert said in str(caught.value)


def test_errors_in_the_classes_and_in_the_training_are_said_at_once() -> None:
    with pytest.raises(UsageError, match="2 errors") as caught:
        load_config(None, ["data.rgb_map={a: [0, 0, 0]}", "train.epochs=0"])
    assert "data.rgb_map" in str(caught.value)
    # What is computed depends on the classes, so their error comes alone.
    with pytest.raises(UsageError, match="1 error") as caught:
        load_config(None, ["data.rgb_map={a: [0, 0, 0]}", "train.monitor=val_dice_a"])
    assert "data.rgb_map" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: [", "not a usable YAML"),
        ("just words", "is a mapping of sections"),
        ("train:\n\tepochs: 3", "not a usable YAML"),
        ("train: {epochs: 3, epochs: 4}", "given twice"),
        ("a: &x [1]\nb: *x", "anchors and aliases"),
        ("train: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("\x00", "not a usable YAML"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_a_missing_config_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml: there is no such config"):
        load_config(tmp_path / "nowhere.yaml")


def test_an_override_must_have_an_equals_sign() -> None:
    with pytest.raises(UsageError, match=r"write it as section\.key=value"):
        load_config(None, ["train.epochs"])


def test_another_network_drops_the_parameters_of_the_first() -> None:
    lung = next(path for path in CONFIGS if path.name == "lung.yaml")
    config = load_config(lung, ["model.name=flexunet", "model.base_filters=8"])
    assert config.model == FlexUNetConfig(name="flexunet", base_filters=8)


@given(
    epochs=st.integers(2, 1000),
    rate=st.floats(1e-9, 10, allow_nan=False),
    window=st.tuples(st.floats(-2000, 0), st.floats(1, 3000)),
    fold=st.integers(2, 20),
)
def test_a_config_survives_being_written_and_read(
    epochs: int, rate: float, window: tuple[float, float], fold: int
) -> None:
    config = check_config(
        {
            "data": {"window": list(window)},
            "split": {"folds": fold},
            "train": {"epochs": epochs, "learning_rate": rate},
        },
        "made up",
    )
    assert check_config(parse_yaml(dump_config(config), "dump"), "dump") == config


def test_a_small_data_set_has_epochs_worth_their_name() -> None:
    def shown(setting: int | None, slices: int) -> int:
        config = check_config({"train": {"samples_per_epoch": setting}}, "test")
        return config.train.slices_per_epoch(slices)

    assert [shown(None, 10), shown(None, 300), shown(0, 10), shown(48, 10)] == [200, 300, 10, 48]
    assert Config().train.samples_per_epoch is None
