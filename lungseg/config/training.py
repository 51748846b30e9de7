"""How a network is trained, augmentation included."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from lungseg.config.fields import Positive, Probability, Section


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
