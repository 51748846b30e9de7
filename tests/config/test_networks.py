"""Each network has its own parameters, and an error names no other network's."""

from typing import get_args

import pytest

from lungseg.config.loading import check_config, load_config
from lungseg.config.networks import NETWORK_CONFIGS
from lungseg.errors import UsageError
from lungseg.models import NETWORKS


def test_every_network_has_parameters() -> None:
    assert set(NETWORK_CONFIGS) == set(NETWORKS)
    for name, network in NETWORK_CONFIGS.items():
        assert get_args(network.model_fields["name"].annotation) == (name,)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_unknown_key_lists_the_keys_of_this_network_only(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_config(None, [f"model.name={name}", "model.zzz=1"])
    line = str(caught.value).splitlines()[1]
    keys = ", ".join(NETWORK_CONFIGS[name].model_fields)
    assert line == f"  model.zzz: unknown key; this section has: {keys} (in --set model.zzz=1)"


@pytest.mark.parametrize("name", NETWORKS)
def test_a_wrong_value_is_named_as_it_was_written(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_config({"model": {"name": name, "base_filters": 0}}, "t")
    assert "\n  model.base_filters: Input should be greater than or equal to 1, not 0" in str(
        caught.value
    )


@pytest.mark.parametrize(
    ("name", "key", "hint"),
    [
        ("flexunet", "base_kernel", "did you mean 'base_kernels'"),
        ("resunet", "base_kernel", "did you mean 'base_filters'"),
        ("efficientunet", "variants", "did you mean 'variant'"),
        ("attention_unet", "variants", "this section has: name, base_filters"),
    ],
)
def test_the_nearest_key_is_one_of_the_chosen_network(name: str, key: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        check_config({"model": {"name": name, key: 1}}, "t")


def test_a_class_with_the_name_of_a_network_keeps_its_place() -> None:
    with pytest.raises(UsageError, match=r"data\.rgb_map\.resunet\.0: "):
        check_config({"data": {"rgb_map": {"a": [0, 0, 0], "resunet": [999, 0, 0]}}}, "t")


@pytest.mark.parametrize(
    ("model", "multiple"),
    [
        ({"name": "resunet"}, 4 * 2**5),
        ({"name": "resunet", "stem_stride": 1, "num_layers": 3}, 4),
        ({"name": "flexunet"}, 2**7),
        ({"name": "attention_unet"}, 16),
        ({"name": "unet3plus", "num_layers": 2}, 2),
        ({"name": "multiresunet", "num_layers": 4}, 8),
        ({"name": "sharp_unet", "num_layers": 4}, 8),
        ({"name": "u2net"}, 32),
        ({"name": "transunet"}, 16),
        ({"name": "swin_unet"}, 4 * 2**3),
        ({"name": "swin_unet", "patch_size": 1, "num_layers": 2}, 2),
        ({"name": "deeplabv3plus"}, 16),
        ({"name": "efficientunet"}, 32),
    ],
)
def test_sides_are_padded_to_what_the_halvings_need(
    model: dict[str, object], multiple: int
) -> None:
    assert check_config({"model": model}, "t").model.side_multiple == multiple


@pytest.mark.parametrize(
    ("model", "key"),
    [
        ({"name": "transunet", "embedding": 100, "heads": 8}, "embedding: 100"),
        ({"name": "swin_unet", "base_filters": 10, "heads": 3}, "base_filters: 10"),
    ],
)
def test_heads_share_the_filters(model: dict[str, object], key: str) -> None:
    with pytest.raises(UsageError, match=f"{key} is no multiple of heads"):
        check_config({"model": model}, "t")


def test_a_slice_that_is_too_large_for_attention_is_refused() -> None:
    model = {"name": "transunet", "num_layers": 3}
    # A quarter of 256 is 64, and 64 x 64 positions are the most.
    check_config({"data": {"image_size": [256, 256]}, "model": model}, "t")
    with pytest.raises(UsageError, match=r"65 x 64 = 4,160 positions.*at most 4,096"):
        check_config({"data": {"image_size": [257, 256]}, "model": model}, "t")
