"""The only description of what a YAML config may hold.

A config is data: it is read with a safe loader, never evaluated, and an unknown key is an error
that names the nearest known one. All errors of a file are reported together.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from lungseg.config.fields import Colour, Positive, Probability, Section, Side
from lungseg.config.networks import ModelConfig, ResUNetConfig
from lungseg.config.training import AugmentConfig, TrainConfig


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
    """A whole config. `configs/lung.yaml` shows every key with its default and its meaning.

    Example:
        >>> config = lungseg.Config()  # the defaults
        >>> config.data.window  # HU that become black and white
        (-1000.0, 400.0)
    """

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
