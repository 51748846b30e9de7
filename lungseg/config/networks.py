"""The parameters of each network."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Union, get_args

from pydantic import Field, model_validator

from lungseg.config.fields import Count, Positive, Section

Rate = Annotated[float, Field(ge=0, lt=1)]

Activation = Literal["relu", "elu", "gelu", "leaky_relu", "mish", "selu", "swish"]

# Attention compares every position with every other, so its memory grows with their square: this
# many take 268 MB a slice and layer with 4 heads.
MAX_POSITIONS = 4096

NAME = "the network; lungseg train --help compares all of them"


class NetworkConfig(Section):
    """The parameters that every network has."""

    # How many times the network halves the sides of its input. Networks with levels compute it.
    halvings: ClassVar[int] = 0
    # The rate that a training uses unless its config sets one: scripts/bench/real_slices.py.
    learning_rate: ClassVar[float] = 0.002

    name: str = Field(description=NAME)
    base_filters: Positive = Field(
        default=16, description="filters of the first level; doubled at each level"
    )
    dropout_rate: Rate = Field(default=0.1, description="dropout at the deepest level, 0 to 1")
    activation: Activation = Field(
        default="relu", description="relu, elu, gelu, leaky_relu, mish, selu or swish"
    )

    @property
    def side_multiple(self) -> int:
        """The network pads both sides of a slice to a multiple of this, in pixels."""
        return 1 << self.halvings

    def check_image(self, size: tuple[int, int]) -> None:
        """Raise `ValueError` if the network cannot work on slices of this height and width."""


class LevelsConfig(NetworkConfig):
    """A U-Net of `num_layers` levels, each of which halves the sides and doubles the filters."""

    num_layers: Annotated[int, Field(ge=2, le=8)] = Field(
        default=5, description="number of levels, the bridge included"
    )

    @property
    def side_multiple(self) -> int:
        """The network pads both sides of a slice to a multiple of this, in pixels."""
        return 1 << (self.num_layers - 1)


class FlexUNetConfig(LevelsConfig):
    """The original's network, with all its parameters."""

    learning_rate: ClassVar[float] = 0.0003

    name: Literal["flexunet"] = Field(description=NAME)
    base_kernels: tuple[Positive, Positive] = Field(
        default=(9, 9), description="kernel of the first level; 2 less at each level, at least 3"
    )
    num_layers: Annotated[int, Field(ge=2, le=10)] = Field(
        default=8, description="number of levels, the bridge included"
    )
    dropout_rate: Rate = Field(
        default=0.04,
        description="dropout at level i is i times this; levels count from 0",
    )
    dilation: tuple[Positive, Positive] = Field(
        default=(1, 1), description="dilation of the first level; 1 less at each level, at least 1"
    )
    normalization: bool = Field(
        default=False, description="batch normalization after each convolution"
    )
    input_normalize: bool = Field(
        default=False, description="true scales grey values to 0..1; false feeds 0..255"
    )

    @model_validator(mode="after")
    def _dropout_stays_below_one(self) -> FlexUNetConfig:
        deepest = self.dropout_rate * (self.num_layers - 1)
        if deepest >= 1:
            raise ValueError(
                f"dropout_rate is multiplied by the level: {self.dropout_rate} x "
                f"{self.num_layers - 1} = {deepest:.2f} at the deepest, which must stay below 1"
            )
        return self


class ResUNetConfig(LevelsConfig):
    """A compact residual U-Net that works on a quarter of the height and width."""

    name: Literal["resunet"] = Field(default="resunet", description=NAME)
    num_layers: Annotated[int, Field(ge=2, le=8)] = Field(
        default=6, description="number of levels, the bridge included"
    )
    max_filters: Positive = Field(default=256, description="no level has more filters than this")
    stem_stride: Literal[1, 2, 4] = Field(
        default=4, description="1, 2 or 4: the first level works on image_size divided by this"
    )
    normalization: Literal["batch", "group"] = Field(
        default="batch", description="batch; or group: independent of the batch, slower to predict"
    )

    @property
    def side_multiple(self) -> int:
        """The network pads both sides of a slice to a multiple of this, in pixels."""
        return self.stem_stride * super().side_multiple


class AttentionUNetConfig(LevelsConfig):
    """A U-Net whose skip connections are gated."""

    learning_rate: ClassVar[float] = 0.003

    name: Literal["attention_unet"] = Field(description=NAME)


class UNet3PlusConfig(LevelsConfig):
    """A U-Net in which each decoder level sees all levels."""

    name: Literal["unet3plus"] = Field(description=NAME)


class MultiResUNetConfig(LevelsConfig):
    """A U-Net of multi-resolution blocks."""

    learning_rate: ClassVar[float] = 0.003

    name: Literal["multiresunet"] = Field(description=NAME)


class SharpUNetConfig(LevelsConfig):
    """A U-Net whose skip connections pass through a sharpening filter."""

    name: Literal["sharp_unet"] = Field(description=NAME)


class U2NetConfig(LevelsConfig):
    """A U-Net each of whose stages is a small U-Net."""

    learning_rate: ClassVar[float] = 0.003

    name: Literal["u2net"] = Field(description=NAME)
    # The two deepest stages are dilated blocks, and at least one nested U-Net lies above them.
    num_layers: Annotated[int, Field(ge=3, le=8)] = Field(
        default=6, description="number of stages; the two deepest are dilated"
    )
    max_filters: Positive = Field(default=128, description="no stage has more filters than this")


class TransUNetConfig(LevelsConfig):
    """A U-Net with a transformer at its deepest level."""

    learning_rate: ClassVar[float] = 0.001  # not measured yet

    name: Literal["transunet"] = Field(description=NAME)
    embedding: Positive = Field(
        default=256, description="values that describe a position in the transformer"
    )
    heads: Positive = Field(
        default=8, description="attention heads; embedding is a multiple of their number"
    )
    transformer_layers: Annotated[int, Field(ge=1, le=32)] = Field(
        default=4, description="layers of the transformer"
    )
    mlp_ratio: Annotated[int, Field(ge=1, le=16)] = Field(
        default=4, description="width of a transformer layer, divided by embedding"
    )

    @model_validator(mode="after")
    def _heads_share_the_embedding(self) -> TransUNetConfig:
        _check_heads("embedding", self.embedding, self.heads)
        return self

    def check_image(self, size: tuple[int, int]) -> None:
        """Raise `ValueError` if attention over an image of this height and width is too large."""
        height, width = (-(-side // self.side_multiple) for side in size)
        if height * width > MAX_POSITIONS:
            raise ValueError(
                f"num_layers: {self.num_layers} levels leave {height} x {width} = "
                f"{height * width:,} positions of a slice of {size[0]} x {size[1]} to the "
                f"transformer, which takes at most {MAX_POSITIONS:,}; set more levels, or a "
                "smaller data.image_size"
            )


class SwinUNetConfig(LevelsConfig):
    """A U-Net of transformers alone, with attention within windows."""

    learning_rate: ClassVar[float] = 0.0003

    name: Literal["swin_unet"] = Field(description=NAME)
    base_filters: Positive = Field(
        default=32, description="filters of the first level; doubled at each level"
    )
    activation: Activation = Field(
        default="gelu", description="relu, elu, gelu, leaky_relu, mish, selu or swish"
    )
    num_layers: Annotated[int, Field(ge=2, le=6)] = Field(
        default=4, description="number of levels, the bridge included"
    )
    patch_size: Literal[1, 2, 4, 8] = Field(
        default=4, description="1, 2, 4 or 8: the first level works on image_size divided by this"
    )
    window: Annotated[int, Field(ge=2, le=16)] = Field(
        default=8, description="side of the windows within which positions attend to each other"
    )
    heads: Positive = Field(
        default=2,
        description="attention heads of the first level; doubled at each level. base_filters is a "
        "multiple of it",
    )
    blocks: Annotated[int, Field(ge=1, le=8)] = Field(
        default=2, description="transformer blocks of a level; every second one shifts its windows"
    )
    mlp_ratio: Annotated[int, Field(ge=1, le=16)] = Field(
        default=4, description="width of a block's hidden layer, divided by the level's filters"
    )

    @property
    def side_multiple(self) -> int:
        """The network pads both sides of a slice to a multiple of this, in pixels."""
        return self.patch_size * super().side_multiple

    @model_validator(mode="after")
    def _heads_share_the_filters(self) -> SwinUNetConfig:
        _check_heads("base_filters", self.base_filters, self.heads)
        return self


def _check_heads(name: str, filters: int, heads: int) -> None:
    if filters % heads:
        raise ValueError(f"{name}: {filters} is no multiple of heads, which is {heads}")


class DeepLabV3PlusConfig(NetworkConfig):
    """Atrous convolutions over a small residual encoder."""

    halvings: ClassVar[int] = 4
    learning_rate: ClassVar[float] = 0.003

    name: Literal["deeplabv3plus"] = Field(description=NAME)
    middle_blocks: Count = Field(default=4, description="residual blocks in the middle")


class EfficientUNetConfig(NetworkConfig):
    """A U-Net decoder on an EfficientNetV2 encoder."""

    halvings: ClassVar[int] = 5
    learning_rate: ClassVar[float] = 0.003

    name: Literal["efficientunet"] = Field(description=NAME)
    variant: Literal["B0", "B1", "B2", "B3", "S", "M", "L"] = Field(
        default="B0", description="EfficientNetV2 variant: B0, B1, B2, B3, S, M or L"
    )


ModelConfig = Annotated[
    Union[  # noqa: UP007
        FlexUNetConfig,
        ResUNetConfig,
        AttentionUNetConfig,
        UNet3PlusConfig,
        MultiResUNetConfig,
        SharpUNetConfig,
        U2NetConfig,
        TransUNetConfig,
        SwinUNetConfig,
        DeepLabV3PlusConfig,
        EfficientUNetConfig,
    ],
    Field(discriminator="name"),
]

DEFAULT_NETWORK = "resunet"


def _name_of(network: type[NetworkConfig]) -> Any:
    return get_args(network.model_fields["name"].annotation)[0]


# Name in the config -> its class.
NETWORK_CONFIGS: dict[str, type[NetworkConfig]] = {
    _name_of(network): network for network in get_args(get_args(ModelConfig)[0])
}
