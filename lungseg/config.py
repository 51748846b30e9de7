"""The only description of what a YAML config may hold.

A config is data: it is read with a safe loader, never evaluated, and an unknown key is an error
that names the nearest known one. All errors of a file are reported together.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal, Union

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=1, le=8192)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Activation = Literal["relu", "elu", "gelu", "leaky_relu", "mish", "selu", "swish"]
Colour = tuple[
    Annotated[int, Field(ge=0, le=255)],
    Annotated[int, Field(ge=0, le=255)],
    Annotated[int, Field(ge=0, le=255)],
]


class Section(BaseModel):
    """A part of the config: no unknown keys, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(Section):
    """Where the data lies and what a slice is."""

    images: Path | None = None
    masks: Path | None = None
    prepared: Path = Path("data/prepared")
    dataset: Path = Path("data/dataset")
    train_only: list[Path] = []
    train_only_share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    image_size: tuple[Side, Side] = (512, 512)
    channels: Literal[1, 3] = 1
    rgb_map: dict[str, Colour] = {"background": (0, 0, 0), "lung": (255, 255, 255)}
    window: tuple[float, float] = (-1000.0, 400.0)
    unsigned_16bit: Literal["full_range", "hu_plus_1024"] = "full_range"

    @field_validator("window")
    @classmethod
    def _window_opens(cls, window: tuple[float, float]) -> tuple[float, float]:
        if window[0] >= window[1]:
            raise ValueError(f"the lower HU must be below the upper, not {list(window)}")
        return window

    @field_validator("rgb_map")
    @classmethod
    def _colours_differ(cls, rgb_map: dict[str, Colour]) -> dict[str, Colour]:
        if not 2 <= len(rgb_map) <= 255:
            raise ValueError("between 2 and 255 classes are needed, background first")
        if len(set(rgb_map.values())) != len(rgb_map):
            raise ValueError("two classes have the same colour")
        return rgb_map


class PrepareConfig(Section):
    """How raw pairs become checked slices."""

    workers: Annotated[int, Field(ge=0)] = 0
    copies: Annotated[int, Field(ge=0)] = 0
    match_mask_size: bool = False
    empty_slices: Annotated[float, Field(ge=0)] = 0.25
    near_duplicate: Probability = 0.97
    blank_contrast: Annotated[float, Field(ge=0)] = 2.0


class SplitConfig(Section):
    """How slices are shared out among train, valid and test."""

    fractions: tuple[Probability, Probability, Probability] = (0.80, 0.15, 0.05)
    group_regex: str | None = None
    group_csv: Path | None = None
    group_column: str = "group"
    neighbour_gap: Annotated[int, Field(ge=0)] = 3
    neighbour_similarity: Probability = 0.85
    folds: Annotated[int, Field(ge=0)] = 0
    leak_similarity: Probability = 0.90
    allow_leakage: bool = False

    @field_validator("fractions")
    @classmethod
    def _fractions_sum_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-6 or value[0] == 0:
            raise ValueError(f"train, valid and test must sum to 1, train above 0; got {value}")
        return value

    @field_validator("group_regex")
    @classmethod
    def _regex_compiles(cls, value: str | None) -> str | None:
        import re

        if value is not None:
            try:
                groups = re.compile(value).groups
            except re.error as problem:
                raise ValueError(f"not a regular expression: {problem}") from None
            if groups == 0:
                raise ValueError("put the patient's part of the name in parentheses")
        return value

    @field_validator("folds")
    @classmethod
    def _one_fold_is_none(cls, value: int) -> int:
        if value == 1:
            raise ValueError("1 fold holds nothing back; use 0 for a plain split, or 2 and more")
        return value


class AffineConfig(Section):
    """Rotation, scale and shift drawn together."""

    p: Probability = 0.0
    rotate: Annotated[float, Field(ge=0, le=180)] = 10.0
    scale: Annotated[float, Field(ge=0, lt=1)] = 0.1
    shift: Annotated[float, Field(ge=0, lt=1)] = 0.05


class ElasticConfig(Section):
    """Elastic deformation (Simard et al., 2003)."""

    p: Probability = 0.0
    alpha: Annotated[float, Field(gt=0)] = 60.0
    sigma: Annotated[float, Field(gt=0)] = 8.0


class StrengthConfig(Section):
    """A transform with one strength, drawn from a range that this bounds."""

    p: Probability = 0.0
    limit: Annotated[float, Field(gt=0, le=1)] = 0.2


class TransformsConfig(Section):
    """The transforms of one augmentation pipeline; image and mask move by the same draw."""

    hflip: Probability = 0.0
    vflip: Probability = 0.0
    rotate90: Probability = 0.0
    affine: AffineConfig = AffineConfig()
    elastic: ElasticConfig = ElasticConfig()
    barrel: StrengthConfig = StrengthConfig()
    grid: StrengthConfig = StrengthConfig()
    lesion: StrengthConfig = StrengthConfig(limit=0.4)
    window: StrengthConfig = StrengthConfig()
    gamma: StrengthConfig = StrengthConfig()
    noise: StrengthConfig = StrengthConfig(limit=0.05)
    blur: StrengthConfig = StrengthConfig(limit=0.5)


def _online_default() -> TransformsConfig:
    return TransformsConfig(
        hflip=0.5,
        affine=AffineConfig(p=0.8, rotate=12, scale=0.25, shift=0.06),
        elastic=ElasticConfig(p=0.2),
        lesion=StrengthConfig(p=0.5, limit=0.4),
        window=StrengthConfig(p=0.6, limit=0.45),
        gamma=StrengthConfig(p=0.4, limit=0.4),
        noise=StrengthConfig(p=0.3, limit=0.05),
        blur=StrengthConfig(p=0.2, limit=0.5),
    )


def _offline_default() -> TransformsConfig:
    return TransformsConfig(
        hflip=0.5,
        affine=AffineConfig(p=0.7, rotate=15, scale=0.2, shift=0.0),
        elastic=ElasticConfig(p=0.3),
        barrel=StrengthConfig(p=0.3, limit=0.3),
        grid=StrengthConfig(p=0.2, limit=0.2),
    )


class AugmentConfig(Section):
    """Online: drawn anew each time a training slice is read. Offline: copies on disk."""

    online: TransformsConfig = Field(default_factory=_online_default)
    offline: TransformsConfig = Field(default_factory=_offline_default)


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

LossName = Literal[
    "categorical_crossentropy",
    "ce_dice",
    "ce_dice_edge",
    "dice",
    "bce_dice",
    "iou",
    "bce_iou",
    "ssim",
    "basnet_hybrid",
]
MetricName = Literal[
    "lung_dice", "lung_iou", "dice_coef_multiclass", "pixel_accuracy", "sensitivity", "specificity"
]


class ReducerConfig(Section):
    """Multiply the learning rate by `factor` after `patience` epochs without a better value."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.4
    patience: Positive = 4
    min_learning_rate: Annotated[float, Field(ge=0)] = 0.0


# Slices; sixty such epochs are what the 13 slices of docs/recipe.md need.
SHORTEST_EPOCH = 200


class TrainConfig(Section):
    """How a network is trained."""

    run: Path = Path("runs/lung")
    epochs: Positive = 60
    samples_per_epoch: Annotated[int, Field(ge=0)] | None = None
    batch_size: Positive = 4
    loss: LossName = "ce_dice"
    metrics: list[MetricName] = ["lung_dice", "dice_coef_multiclass"]
    optimizer: Literal["adam", "adamw"] = "adamw"
    learning_rate: Annotated[float, Field(gt=0)] = 0.002
    weight_decay: Annotated[float, Field(ge=0)] = 0.0001
    weight_average: Annotated[float, Field(ge=0, le=0.5)] = 0.1
    clipvalue: Annotated[float, Field(gt=0)] | None = None
    schedule: Literal["constant", "cosine"] = "cosine"
    warmup_epochs: Annotated[int, Field(ge=0)] = 1
    reducer: ReducerConfig | None = None
    monitor: str = "val_lung_dice"
    patience: Annotated[int, Field(ge=0)] = 0
    epoch_change_images: Annotated[int, Field(ge=0)] = 6
    mini_test: Path | None = None
    tensorboard: bool = False
    time_budget: Annotated[str, Field(pattern=r"^\d+(\.\d+)?(s|min|h)$")] | None = None
    strategy: Literal["none", "mirrored", "multiworker"] = "none"
    tune: Literal["none", "auto"] = "none"
    threads: Annotated[int, Field(ge=0)] = 0
    onednn: bool = True
    jit_compile: bool = False
    mixed_precision: bool = False
    deterministic: bool = False

    @property
    def budget_seconds(self) -> float:
        """The time budget in seconds; infinite without one."""
        if self.time_budget is None:
            return math.inf
        number = float(self.time_budget.rstrip("sminh"))
        unit = self.time_budget.lstrip("0123456789.")
        return number * {"s": 1, "min": 60, "h": 3600}[unit]

    def slices_an_epoch(self, slices: int) -> int:
        """Return how many slices an epoch shows of the `slices` there are."""
        if self.samples_per_epoch is None:
            return max(slices, SHORTEST_EPOCH)
        return self.samples_per_epoch or slices

    @model_validator(mode="after")
    def _one_master_of_the_rate(self) -> TrainConfig:
        if self.schedule != "constant" and self.reducer is not None:
            raise ValueError(
                f"schedule: {self.schedule} and reducer both set the learning rate; "
                "use schedule: constant, or reducer: null"
            )
        if self.time_budget and self.strategy == "multiworker":
            raise ValueError("time_budget: every worker would plan for itself; give epochs instead")
        if self.monitor == "last":
            if self.patience or self.reducer is not None:
                raise ValueError("monitor: last watches no value, as patience and reducer need one")
            return self
        known = {"loss", *self.metrics}
        if self.monitor.removeprefix("val_") not in known:
            names = ", ".join(sorted(f"val_{name}" for name in known))
            raise ValueError(f"monitor: {self.monitor!r} is not computed; there are {names}, last")
        return self


class EvaluateConfig(Section):
    """How a run is scored."""

    part: Literal["train", "valid", "test"] = "test"
    bootstrap: Annotated[int, Field(ge=0)] = 2000
    batch_size: Positive = 4
    tolerances: list[Annotated[float, Field(gt=0)]] = [1.0, 2.0]
    flips: bool = True
    missing: Literal["score_as_empty", "leave_out"] = "score_as_empty"
    workers: Annotated[int, Field(ge=0)] = 0


class InferConfig(Section):
    """How masks are predicted."""

    batch_size: Positive = 4
    overlay: bool = False
    device: Literal["auto", "cpu", "gpu"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    series_uid: str | None = None
    components: Annotated[int, Field(ge=0)] = 2
    min_component_ml: Annotated[float, Field(ge=0)] = 5.0
    fill_holes: bool = True
    drop_air: bool = True
    sides: bool = False
    flips: bool = False
    tiles: bool = False
    probabilities: bool = False
    video: bool = False
    dicom_seg: bool = False


class Config(Section):
    """A whole config. `configs/lung.yaml` shows every key with its default and its meaning."""

    seed: Annotated[int, Field(ge=0, lt=2**32)] = 137
    data: DataConfig = DataConfig()
    prepare: PrepareConfig = PrepareConfig()
    split: SplitConfig = SplitConfig()
    augment: AugmentConfig = Field(default_factory=AugmentConfig)
    model: ModelConfig = ResUNetConfig()
    train: TrainConfig = TrainConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    infer: InferConfig = InferConfig()

    @property
    def num_classes(self) -> int:
        """Classes, background included."""
        return len(self.data.rgb_map)
