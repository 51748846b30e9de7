"""The parameters of each network."""

from __future__ import annotations

from typing import Annotated, Literal, Union

from pydantic import Field, model_validator

from lungseg.config.fields import Positive, Section

Rate = Annotated[float, Field(ge=0, lt=1)]


Activation = Literal["relu", "elu", "gelu", "leaky_relu", "mish", "selu", "swish"]


class FlexUNetConfig(Section):
    """The original's network, all its parameters."""

    name: Literal["flexunet"]
    base_filters: Positive = 16
    base_kernels: tuple[Positive, Positive] = (9, 9)
    num_layers: Annotated[int, Field(ge=2, le=10)] = 8
    dropout_rate: Annotated[float, Field(ge=0, lt=1)] = 0.04
    dilation: tuple[Positive, Positive] = (1, 1)
    normalization: bool = False
    activation: Activation = "relu"
    input_normalize: bool = False

    @model_validator(mode="after")
    def _dropout_stays_below_one(self) -> FlexUNetConfig:
        deepest = self.dropout_rate * (self.num_layers - 1)
        if deepest >= 1:
            raise ValueError(
                f"dropout_rate is multiplied by the level: {self.dropout_rate} x "
                f"{self.num_layers - 1} = {deepest:.2f} at the deepest, which must stay below 1"
            )
        return self

    @property
    def side_multiple(self) -> int:
        """What the network pads both sides of a slice to a multiple of."""
        return 1 << (self.num_layers - 1)


class ResUNetConfig(Section):
    """A compact residual U-Net that works on a quarter of the pixels a side."""

    name: Literal["resunet"] = "resunet"
    base_filters: Positive = 16
    num_layers: Annotated[int, Field(ge=2, le=8)] = 6
    max_filters: Positive = 256
    stem_stride: Literal[1, 2, 4] = 4
    normalization: Literal["batch", "group"] = "batch"
    dropout_rate: Rate = 0.1
    activation: Activation = "relu"

    @property
    def side_multiple(self) -> int:
        """What the network pads both sides of a slice to a multiple of."""
        return int(self.stem_stride) << (self.num_layers - 1)


class _LevelsConfig(Section):
    """A U-Net of `num_layers` levels, the filters doubled a level."""

    base_filters: Positive = 16
    num_layers: Annotated[int, Field(ge=2, le=8)] = 5
    dropout_rate: Rate = 0.1
    activation: Activation = "relu"

    @property
    def side_multiple(self) -> int:
        """What the network pads both sides of a slice to a multiple of."""
        return 1 << (self.num_layers - 1)


class AttentionUNetConfig(_LevelsConfig):
    """A U-Net whose skip connections are gated."""

    name: Literal["attention_unet"]


class UNet3PlusConfig(_LevelsConfig):
    """A U-Net whose decoder levels see all levels."""

    name: Literal["unet3plus"]


class MultiResUNetConfig(_LevelsConfig):
    """A U-Net of multi-resolution blocks."""

    name: Literal["multiresunet"]


class DeepLabV3PlusConfig(Section):
    """Atrous convolutions over a small residual encoder."""

    name: Literal["deeplabv3plus"]
    base_filters: Positive = 16
    middle_blocks: Annotated[int, Field(ge=0)] = 4
    dropout_rate: Rate = 0.1
    activation: Activation = "relu"

    @property
    def side_multiple(self) -> int:
        """What the network pads both sides of a slice to a multiple of."""
        return 16


class EfficientUNetConfig(Section):
    """A U-Net decoder on an EfficientNetV2 encoder."""

    name: Literal["efficientunet"]
    variant: Literal["B0", "B1", "B2", "B3", "S", "M", "L"] = "B0"
    base_filters: Positive = 16
    dropout_rate: Rate = 0.1
    activation: Activation = "relu"

    @property
    def side_multiple(self) -> int:
        """What the network pads both sides of a slice to a multiple of."""
        return 32


ModelConfig = Annotated[
    Union[  # noqa: UP007
        FlexUNetConfig,
        ResUNetConfig,
        AttentionUNetConfig,
        UNet3PlusConfig,
        MultiResUNetConfig,
        DeepLabV3PlusConfig,
        EfficientUNetConfig,
    ],
    Field(discriminator="name"),
]
