"""`data.pairing` is a name or two patterns, and `data.structures` names what is lung."""

from typing import Any

import pytest

from lungseg.config.loading import check_config, dump_config, load_config
from lungseg.config.pairing import PairPatterns, class_of, structures_of
from lungseg.config.strict_yaml import parse_yaml
from lungseg.errors import UsageError

LUNG = structures_of({}, ["background", "lung"])
LUNGS = """
    Lung_L, Lung_R, Lungs, lung left, Left Lung, Lt Lung, LungL, Lung-Left, Lungs-Total, Total Lung,
    Lung_RUL, R Lung, Lung^L, LUNG_RT, left_lung, Lung, lung_upper_lobe_left, lung_middle_lobe_right
"""
OTHERS = """
    Lungs-GTV, Lungs-ITV, lung_vessels, lung_trachea_bronchia, PRV_Lung, Lung_L_PRV, lung_nodules,
    cancer, Heart, Lung Tumor, Lung_Opt, lungfish, Both_Lungs-CTV, not lung
"""


def checked(**data: Any) -> Any:
    return check_config({"data": data}, "test").data


@pytest.mark.parametrize("pairing", ["nnunet", {"images": "image_(.+)", "masks": "mask_(.+)"}])
def test_a_name_or_patterns_are_kept_when_a_config_is_written(pairing: Any) -> None:
    config = check_config({"data": {"pairing": pairing}}, "test")
    assert check_config(parse_yaml(dump_config(config), "written"), "written") == config
    expected = pairing if isinstance(pairing, str) else PairPatterns(**pairing)
    assert config.data.pairing == expected


def test_without_a_word_images_are_paired_by_stem() -> None:
    assert load_config().data.pairing == "stem"


@pytest.mark.parametrize(
    ("pairing", "message"),
    [
        ("nnunett", r"data\.pairing: Input should be 'stem', .* not 'nnunett'"),
        ({"image": "x"}, r"data\.pairing\.image: unknown key; did you mean 'images'\?"),
        ({"masks": "(("}, r"data\.pairing\.masks: not a regular expression: missing \)"),
        ({"masks": ""}, r"data\.pairing\.masks: String should have at least 1 character"),
        ({}, r"data\.pairing: give a pattern for the images, for the masks or for both"),
        ({"images": "(a)(b)", "masks": "(a)"}, r"data\.pairing: .* 2 groups and .* masks 1"),
    ],
)
def test_an_error_is_about_what_was_meant(pairing: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        checked(pairing=pairing)
    assert "1 error in the config" in str(caught.value)


def test_the_source_of_a_wrong_pattern_is_named() -> None:
    with pytest.raises(UsageError, match=r"unterminated .*\(in --set data\.pairing\.masks=\(\(\)"):
        load_config(None, ["data.pairing.masks=(("])


def test_a_config_that_extends_another_replaces_its_patterns(tmp_path: Any) -> None:
    (tmp_path / "base.yaml").write_text("data: {pairing: {images: 'ct_(.+)', masks: 'm_(.+)'}}")
    (tmp_path / "top.yaml").write_text("extends: base.yaml\ndata: {pairing: {masks: _mask$}}")
    pairing = load_config(tmp_path / "top.yaml").data.pairing
    assert pairing == PairPatterns(masks="_mask$")


def test_structures_belong_to_classes() -> None:
    with pytest.raises(UsageError, match=r"data\.structures: 'lun' is not a class of rgb_map"):
        checked(structures={"lun": "x"})
    with pytest.raises(UsageError, match=r"data\.structures\.lung: not a regular expression"):
        checked(structures={"lung": "("})


@pytest.mark.parametrize("name", LUNGS.split(","))
def test_usual_names_of_the_lungs_are_known(name: str) -> None:
    assert class_of(name, LUNG) == "lung"


@pytest.mark.parametrize("name", OTHERS.split(","))
def test_names_of_other_structures_are_not_taken_for_lung(name: str) -> None:
    assert class_of(name, LUNG) is None


def test_several_classes_are_found_by_their_own_names() -> None:
    patterns = structures_of({}, ["background", "left lung", "right_lung"])
    assert class_of("Left_Lung", patterns) == "left lung"
    assert class_of("right lung", patterns) == "right_lung"
    assert class_of("Lungs", patterns) is None
    assert structures_of({"lung": "x.*"}, ["background", "lung"]) == {"lung": "x.*"}
    assert class_of("xy", {"lung": "x"}) is None  # the whole name must match
