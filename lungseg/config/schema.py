"""The only description of what a YAML config may hold.

Each key's meaning is its `description`. The files in configs/, their comments and the JSON schema
for editors are written from here (`lungseg config`).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from lungseg.config.fields import (
    Amount,
    Colour,
    Count,
    Positive,
    PositiveAmount,
    Probability,
    Section,
    Side,
)
from lungseg.config.networks import ModelConfig, ResUNetConfig
from lungseg.config.training import AugmentConfig, TrainConfig


class DataConfig(Section):
    """Where the data are, and what a slice is."""

    images: Path | None = Field(default=None, description="folder of raw images (--images)")
    masks: Path | None = Field(default=None, description="folder of raw masks (--masks)")
    prepared: Path = Field(
        default=Path("data/prepared"),
        description="folder that prepare writes and split reads (-o, --input)",
    )
    dataset: Path = Field(
        default=Path("data/dataset"),
        description="folder that split writes; train and evaluate read it (-o, --data)",
    )
    train_only: list[Path] = Field(
        default_factory=list,
        description="more prepared folders to train on, of other sources or phantoms",
    )
    train_only_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.25, description="at most this share of an epoch's slices comes from train_only"
    )
    image_size: tuple[Side, Side] = Field(
        default=(512, 512), description="height and width of a prepared slice, in pixels"
    )
    channels: Literal[1, 3] = Field(default=1, description="1: grey; 3: RGB")
    rgb_map: dict[str, Colour] = Field(
        default_factory=lambda: {"background": (0, 0, 0), "lung": (255, 255, 255)},
        description="colour of each class in mask files, background first",
    )
    window: tuple[float, float] = Field(
        default=(-1000.0, 400.0),
        description="HU shown as black and as white, for signed and float images",
    )
    unsigned_16bit: Literal["full_range", "hu_plus_1024"] = Field(
        default="full_range",
        description="16-bit unsigned images hold grey values 0..65535; or hu_plus_1024",
    )

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

    threads: Count = Field(default=0, description="CPU threads; 0: all cores")
    copies: Count = Field(
        default=0, description="augmented copies per slice (augment.offline), for training only"
    )
    match_mask_size: bool = Field(
        default=False,
        description="resize a mask of another size to its image; false: refuse it",
    )
    empty_slices: Amount = Field(
        default=0.25, description="volumes: slices without lung kept per slice with lung"
    )
    near_duplicate: Probability = Field(
        default=0.97, description="report two images this similar or more (0 to 1)"
    )
    patient_key: Path | None = Field(
        default=None,
        description="a secret file gives DICOM patients the same names each time",
    )
    blank_contrast: Amount = Field(
        default=2.0,
        description="blank: the standard deviation of the grey values is below this",
    )


class SplitConfig(Section):
    """How slices are divided into train, valid and test."""

    fractions: tuple[Probability, Probability, Probability] = Field(
        default=(0.80, 0.15, 0.05), description="shares of train, valid and test; their sum is 1"
    )
    group_regex: str | None = Field(
        default=None,
        description=r"finds the patient in a file name, for example ^(patient\d+)_",
    )
    group_csv: Path | None = Field(
        default=None, description="CSV table with a column `case` and one that names the patient"
    )
    group_column: str = Field(
        default="group", description="column of that table which names the patient"
    )
    patient_similarity: Probability = Field(
        default=0.75,
        description="unknown patients: images this similar (0 to 1) are one's",
    )
    neighbour_gap: Count = Field(
        default=3,
        description="without regex or CSV: slices at most this many numbers apart ...",
    )
    neighbour_similarity: Probability = Field(
        default=0.65, description="... and at least this similar (0 to 1) are one patient's"
    )
    folds: Count = Field(
        default=0, description="0: one split; k of 2 or more: data sets fold_1 to fold_k"
    )
    hard_links: bool = Field(
        default=False,
        description="true: takes no space, but a file edited in place changes in prepared, too",
    )
    leak_similarity: Probability = Field(
        default=0.90,
        description="known patients: images this similar in two parts are an error",
    )
    allow_leakage: bool = Field(default=False, description="true: that error is only a warning")

    @field_validator("fractions")
    @classmethod
    def _fractions_sum_to_one(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        if abs(sum(value) - 1) > 1e-6:
            raise ValueError(f"train, valid and test must sum to 1, not {value}")
        return value

    @field_validator("group_regex")
    @classmethod
    def _regex_compiles(cls, value: str | None) -> str | None:
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
    def _folds_can_be_made(cls, value: int, info: ValidationInfo) -> int:
        if value == 1:
            raise ValueError(
                "1 fold leaves nothing to validate on; use 0 for a plain split, or 2 or more"
            )
        if value and info.data.get("fractions", (1,))[0] == 0:
            raise ValueError("folds need slices to train on: split.fractions has train at 0")
        return value


class EvaluateConfig(Section):
    """How masks are scored."""

    part: Literal["train", "valid", "test"] = Field(
        default="test", description="part of the data set to score: train, valid or test"
    )
    bootstrap: Count = Field(
        default=2000, description="resamples of patients for the 95% interval; 0: no interval"
    )
    batch_size: Positive = Field(default=4, description="slices predicted at a time")
    tolerances: list[PositiveAmount] = Field(
        default_factory=lambda: [1.0, 2.0],
        description="surface Dice tolerances in mm (pixels if the spacing is unknown)",
    )
    flips: bool = Field(
        default=True,
        description="predict mirrored slices too, to measure the uncertainty",
    )
    missing: Literal["score_as_empty", "leave_out"] = Field(
        default="score_as_empty",
        description="with --pred: a missing prediction scores 0; or leave_out",
    )
    threads: Count = Field(default=0, description="CPU threads; 0: all cores")


class InferConfig(Section):
    """How masks are predicted."""

    batch_size: Positive = Field(default=4, description="slices predicted at a time")
    overlay: bool = Field(
        default=False, description="also write each image with the outline of its mask"
    )
    device: Literal["auto", "cpu", "gpu"] = Field(
        default="auto",
        description="auto: a GPU if there is one; or cpu; or gpu: fail without one",
    )
    threads: Count = Field(default=0, description="CPU threads; 0: all cores")
    series_uid: str | None = Field(
        default=None, description="DICOM series to read; null: the CT series with most slices"
    )
    components: Count = Field(
        default=0,
        description="volumes: keep this many connected parts, the largest; 0: all that are lung",
    )
    min_component_ml: Amount = Field(
        default=5.0,
        description="volumes: remove parts smaller than this, in ml; less in small animals",
    )
    fill_holes: bool = Field(default=True, description="volumes: fill holes in the lungs")
    drop_air: bool = Field(
        default=True, description="volumes: remove gas of the bowel, and parts beside the body"
    )
    sides: bool = Field(
        default=False,
        description="volumes: label the left lung 1, the right 2, lung of unknown side 3",
    )
    flips: bool = Field(
        default=False,
        description="average with the mirrored slice: slightly better, twice the time",
    )
    tiles: bool = Field(
        default=False,
        description="predict large images in overlapping tiles; false: shrink them",
    )
    probabilities: bool = Field(
        default=False, description="also write the probability of lung, 0..255, to probabilities/"
    )
    video: bool = Field(
        default=False, description="volumes: also write outlined slices as a GIF to overlays/"
    )
    dicom_seg: bool = Field(
        default=False,
        description="DICOM folders: also write DICOM-SEG, with the patient's identity",
    )


class Config(Section):
    """A whole config. `lungseg config` prints every key with its default and its meaning.

    Examples:
        >>> config = lungseg.Config()  # the defaults
        >>> config.data.window  # HU that become black and white
        (-1000.0, 400.0)
    """

    seed: Annotated[int, Field(ge=0, lt=2**32)] = Field(
        default=137, description="makes prepare, split and the order of training repeatable"
    )
    data: DataConfig = Field(
        default_factory=DataConfig, description="where the data are, and what a slice is"
    )
    prepare: PrepareConfig = Field(
        default_factory=PrepareConfig, description="how raw pairs become checked slices"
    )
    split: SplitConfig = Field(
        default_factory=SplitConfig,
        description="how slices are divided into train, valid and test",
    )
    augment: AugmentConfig = Field(
        default_factory=AugmentConfig, description="random changes of the training slices"
    )
    model: ModelConfig = Field(default_factory=ResUNetConfig, description="the network")
    train: TrainConfig = Field(
        default_factory=TrainConfig, description="how the network is trained"
    )
    evaluate: EvaluateConfig = Field(
        default_factory=EvaluateConfig, description="how masks are scored"
    )
    infer: InferConfig = Field(default_factory=InferConfig, description="how masks are predicted")

    @property
    def learning_rate(self) -> float:
        """The highest learning rate of a training: `train.learning_rate`, or the network's own."""
        return self.train.learning_rate or self.model.learning_rate

    @property
    def num_classes(self) -> int:
        """Classes, background included."""
        return len(self.data.rgb_map)
