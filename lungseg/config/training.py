"""How a network is trained, augmentation included."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from lungseg.config.fields import Amount, Count, Positive, PositiveAmount, Probability, Section

CHANCE = "probability of the transform"


class AffineConfig(Section):
    """Rotation, scaling and shift drawn together."""

    p: Probability = Field(default=0.0, description=CHANCE)
    rotate: Annotated[float, Field(ge=0, le=180)] = Field(
        default=10.0, description="largest rotation either way, in degrees"
    )
    scale: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.1, description="sizes are multiplied by 1 - scale to 1 + scale"
    )
    shift: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.05, description="largest shift, as a share of a side"
    )


class ElasticConfig(Section):
    """Elastic deformation (Simard et al., 2003)."""

    p: Probability = Field(default=0.0, description=CHANCE)
    alpha: PositiveAmount = Field(default=60.0, description="strength of the displacement")
    sigma: PositiveAmount = Field(
        default=8.0, description="smoothness of the displacement, in pixels"
    )


class StrengthConfig(Section):
    """A transform with one strength, which is drawn each time, up to a limit."""

    p: Probability = Field(default=0.0, description=CHANCE)
    limit: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.2, description="largest strength; its unit depends on the transform"
    )


class WindowConfig(StrengthConfig):
    """Another grey window."""

    mediastinal: Probability = Field(
        default=0.0, description="share of the windows that show soft tissue only"
    )


class BrightnessConfig(StrengthConfig):
    """Grey values multiplied and shifted."""

    contrast: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.2, description="grey values are multiplied by 1 - contrast to 1 + contrast"
    )


def _strength(limit: float, meaning: str) -> Any:
    return Field(default_factory=lambda: StrengthConfig(limit=limit), description=meaning)


class TransformsConfig(Section):
    """The transforms of one augmentation pipeline; image and mask are moved in the same way."""

    hflip: Probability = Field(default=0.0, description="probability of a left-right flip")
    vflip: Probability = Field(
        default=0.0, description="probability of an up-down flip (no patient is scanned so)"
    )
    rotate90: Probability = Field(
        default=0.0, description="probability of a turn by 90, 180 or 270 degrees"
    )
    affine: AffineConfig = Field(
        default_factory=AffineConfig.model_construct,
        description="rotation (degrees), scaling and shift",
    )
    crop: StrengthConfig = _strength(
        0.6, "a part of the slice enlarged; up to limit of each side is cut off"
    )
    shear: StrengthConfig = _strength(
        0.2, "shear; limit as the largest shift of a row, in rows, per row away from the middle"
    )
    elastic: ElasticConfig = Field(
        default_factory=ElasticConfig.model_construct,
        description="elastic deformation; sigma in pixels",
    )
    barrel: StrengthConfig = _strength(0.2, "barrel and pincushion distortion")
    grid: StrengthConfig = _strength(0.2, "grid distortion")
    lesion: StrengthConfig = _strength(
        0.4, "part of a lung made opaque; largest radius / sqrt(lung area)"
    )
    window: WindowConfig = Field(
        default_factory=WindowConfig.model_construct,
        description="another grey window: limit as a share of its width",
    )
    gamma: StrengthConfig = _strength(0.2, "gamma correction, exponent 1 - limit to 1 + limit")
    brightness: BrightnessConfig = Field(
        default_factory=BrightnessConfig.model_construct,
        description="brighter or darker: limit as the largest shift, as a share of white",
    )
    sharpen: StrengthConfig = _strength(
        0.5, "sharpening; up to limit times the difference from the neighbours is added"
    )
    noise: StrengthConfig = _strength(0.05, "Gaussian noise; limit as a share of white")
    blur: StrengthConfig = _strength(
        0.5, "Gaussian blur; standard deviation up to 3 x limit pixels"
    )


def _online_default() -> TransformsConfig:
    return TransformsConfig(
        hflip=0.5,
        affine=AffineConfig(p=0.8, rotate=12, scale=0.4, shift=0.06),
        crop=StrengthConfig(p=0.2, limit=0.6),
        elastic=ElasticConfig(p=0.2),
        lesion=StrengthConfig(p=0.1, limit=0.4),
        window=WindowConfig(p=0.6, limit=0.45, mediastinal=0.2),
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
    """Random changes of the slices that the network is trained on."""

    online: TransformsConfig = Field(
        default_factory=_online_default,
        description="drawn anew each time a training slice is read",
    )
    offline: TransformsConfig = Field(
        default_factory=_offline_default,
        description="for the copies that prepare writes (prepare.copies)",
    )


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


LogName = Literal["csv", "tensorboard", "mlflow"]


def _default_log() -> list[LogName]:
    return ["csv"]


def _default_metrics() -> list[MetricName]:
    return ["lung_dice", "dice_coef_multiclass"]


class ReducerConfig(Section):
    """Multiply the learning rate by `factor` after `patience` epochs without a better value."""

    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.4, description="the learning rate is multiplied by this"
    )
    patience: Positive = Field(
        default=4, description="epochs without a better value before the rate falls"
    )
    min_learning_rate: Amount = Field(default=0.0, description="the rate does not fall below this")


# Slices. The 13 slices of docs/recipe.md need sixty epochs of this length.
SHORTEST_EPOCH = 200

TIME_BUDGET = r"^([0-9]+(?:\.[0-9]+)?)(s|min|h)$"

SECONDS = {"s": 1, "min": 60, "h": 3600}


class TrainConfig(Section):
    """How a network is trained."""

    run: Path = Field(default=Path("runs/lung"), description="run folder to write (--run)")
    start_from: Path | Literal["shipped"] | None = Field(
        default=None,
        description="run, or shipped, whose weights to start with (--from); null: random weights",
    )
    epochs: Positive = Field(default=60, description="number of epochs, at most")
    samples_per_epoch: Count | None = Field(
        default=None,
        description="slices per epoch; 0: each once; null: each once, but at least 200",
    )
    patient_balance: Probability = Field(
        default=0.0,
        description="0: all slices are shown alike often; 1: all patients; 0.5: in between, for "
        "volumes beside single slices",
    )
    batch_size: Positive = Field(default=4, description="slices per training step")
    loss: LossName = Field(
        default="ce_dice",
        description="cross-entropy plus Dice; or categorical_crossentropy, ce_dice_edge, dice, "
        "bce_dice, iou, bce_iou, ssim, basnet_hybrid",
    )
    metrics: list[MetricName] = Field(
        default_factory=_default_metrics,
        description="computed after each epoch; also lung_iou, pixel_accuracy, sensitivity, "
        "specificity",
    )
    optimizer: Literal["adam", "adamw"] = Field(default="adamw", description="adam or adamw")
    learning_rate: PositiveAmount | None = Field(
        default=None,
        description="learning rate; with cosine, its highest value; null: the network's own",
    )
    weight_decay: Amount = Field(default=0.0001, description="weight decay of adamw")
    weight_average: Annotated[float, Field(ge=0, le=0.5)] = Field(
        default=0.1,
        description="average the weights over this last share of the steps so far; 0: no average",
    )
    clipvalue: PositiveAmount | None = Field(
        default=None, description="clip each gradient component to this; null: no clipping"
    )
    schedule: Literal["constant", "cosine"] = Field(
        default="cosine", description="cosine falls to 0 at the last epoch; or constant"
    )
    warmup_epochs: Count = Field(
        default=1, description="cosine: epochs of linear rise, at most half of all epochs"
    )
    reducer: ReducerConfig | None = Field(
        default=None,
        description="with constant: {factor: 0.4, patience: 4}; null: the rate stays",
    )
    monitor: str = Field(
        default="val_lung_dice",
        description="keep the epoch with the best value of this, such as val_loss; of several "
        "classes also val_dice_NAME; last: the last epoch",
    )
    patience: Count = Field(
        default=0, description="stop after this many epochs without a better value; 0: never"
    )
    epoch_change_images: Count = Field(
        default=6, description="slices predicted and drawn after each epoch; 0: none"
    )
    mini_test: Path | None = Field(
        default=None, description="folder of the images to draw; null: the valid part"
    )
    log: list[LogName] = Field(
        default_factory=_default_log,
        description="csv: history.csv and plots, always written; also tensorboard, and mlflow into "
        "mlruns/ beside the run",
    )
    time_budget: Annotated[str, Field(pattern=TIME_BUDGET)] | None = Field(
        default=None, description="time for the training, such as 45s, 60min or 2h; null: no limit"
    )
    strategy: Literal["none", "mirrored", "multiworker"] = Field(
        default="none", description="mirrored: all GPUs here; multiworker: hosts of TF_CONFIG"
    )
    tune: Literal["none", "auto"] = Field(
        default="none",
        description="auto: before long runs, find the fastest next four settings",
    )
    threads: Count = Field(default=0, description="CPU threads; 0: all cores")
    onednn: bool = Field(default=True, description="use the oneDNN kernels on CPUs")
    jit_compile: bool = Field(default=False, description="compile with XLA")
    mixed_precision: bool = Field(
        default=False, description="compute in float16 where that is safe; for GPUs"
    )
    deterministic: bool = Field(
        default=False, description="repeated runs give equal bits, but train more slowly"
    )

    @property
    def budget_seconds(self) -> float:
        """The time budget in seconds; infinite without one."""
        budget = re.match(TIME_BUDGET, self.time_budget or "")
        return float(budget[1]) * SECONDS[budget[2]] if budget else math.inf

    def slices_per_epoch(self, slices: int) -> int:
        """Return the number of slices in an epoch if there are `slices` to train on."""
        if self.samples_per_epoch is None:
            return max(slices, SHORTEST_EPOCH)
        return self.samples_per_epoch or slices

    @field_validator("log")
    @classmethod
    def _csv_is_always_written(cls, log: list[LogName]) -> list[LogName]:
        return list(dict.fromkeys(["csv", *log]))

    @model_validator(mode="after")
    def _rate_is_set_once(self) -> TrainConfig:
        if self.schedule != "constant" and self.reducer is not None:
            raise ValueError(
                f"schedule: {self.schedule} and reducer both set the learning rate; "
                "use schedule: constant, or reducer: null"
            )
        if self.time_budget and self.strategy == "multiworker":
            raise ValueError(
                "time_budget: with multiworker each worker would plan its own end; set epochs"
            )
        if self.monitor == "last" and (self.patience or self.reducer is not None):
            raise ValueError("monitor: last watches no value, but patience and reducer need one")
        return self
