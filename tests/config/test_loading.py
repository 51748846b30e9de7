"""Odd configs: the message names the file or override that is wrong, and what is wrong with it."""

import sys
from pathlib import Path

import pytest

from lungseg.config.loading import load_config
from lungseg.config.schema import Config
from lungseg.errors import UsageError


def test_an_empty_name_extends_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text('extends: ""\n')
    with pytest.raises(UsageError, match="expected the name of a config file, not ''"):
        load_config(tmp_path / "a.yaml")


def test_the_override_with_the_unknown_network_is_named() -> None:
    with pytest.raises(UsageError, match=r"model\.name: 'u_net' is not one of") as caught:
        load_config(None, ["model.name=u_net", "model.base_filters=8"])
    assert str(caught.value).endswith("(in --set model.name=u_net)")


def test_a_standard_input_that_is_closed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # what Python makes of `<&-`
    with pytest.raises(UsageError, match="it is closed"):
        load_config("-")


def test_one_override_may_be_given_as_text() -> None:
    assert load_config(None, "train.epochs=3").train.epochs == 3


def test_no_single_source_is_blamed_for_what_two_say_together(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("train: {reducer: {factor: 0.5}}\n")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\n")
    with pytest.raises(UsageError, match="reducer both set the learning rate") as caught:
        load_config(tmp_path / "top.yaml", ["train.schedule=cosine"])
    assert "(in " not in str(caught.value)


LESION = "augment.online.lesion.p=0.25"


def test_an_override_leaves_the_other_transforms_as_they_are() -> None:
    expected = Config().model_dump()
    expected["augment"]["online"]["lesion"]["p"] = 0.25
    assert load_config(None, [LESION]).model_dump() == expected
    flipped = load_config(None, ["augment.online.hflip=0"]).augment.online
    assert (flipped.hflip, flipped.lesion) == (0, Config().augment.online.lesion)
    both = load_config(None, [LESION, "augment.online.hflip=0"])
    assert (both.augment.online.lesion.p, both.augment.online.hflip) == (0.25, 0)
    assert both.augment.online.window == Config().augment.online.window


def test_a_file_names_all_transforms_it_wants(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("augment: {online: {blur: {p: 0.3}}}\n")
    online = load_config(path, [LESION]).augment.online
    assert (online.blur.p, online.lesion.p, online.hflip, online.affine.p) == (0.3, 0.25, 0, 0)


def test_an_override_says_nothing_about_keys_of_other_sections() -> None:
    # `train.run` counts as set only if somebody set it.
    config = load_config(None, [LESION, "train.epochs=3"])
    assert "run" not in config.train.model_fields_set
    assert config.augment.offline == Config().augment.offline
    with pytest.raises(UsageError, match="lesion"):
        load_config(None, ["augment.online.lesions.p=0.25"])
