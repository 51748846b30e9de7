"""The only description of what a YAML config may hold.

Each key's meaning is its `description`. The files in configs/, their comments and the JSON schema
for editors are written from here (`lungseg config`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from lungseg.config.classes import ClassLabels, RgbMap, class_metrics, lung_alone
from lungseg.config.datasets import PrepareConfig, SplitConfig
from lungseg.config.fields import (
    Amount,
    Count,
    Positive,
    PositiveAmount,
    Section,
    Side,
)
from lungseg.config.networks import ModelConfig, NetworkConfig, ResUNetConfig
from lungseg.config.pairing import Pairing, Structures
from lungseg.config.training import AugmentConfig, TrainConfig


class DataConfig(Section):
    """Where the data are, and what a slice is."""

    images: Path | None = Field(default=None, description="folder of raw images (--images)")
    masks: Path | None = Field(default=None, description="folder of raw masks (--masks)")
    pairing: Pairing = Field(
        default="stem",
        description="how masks are found: stem, suffix, nnunet, totalsegmentator, luna16, "
        "covid19-ct-seg, lctsc, original, or patterns such as {images: image_(.+), masks: "
        "mask_(.+)}",
    )
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
    square_pixels: bool = Field(
        default=True, description="true: slices are padded, never stretched; false: as in 0.1"
    )
    pixel_spacing: tuple[PositiveAmount, PositiveAmount] | None = Field(
        default=None,
        description="plain images: height and width of a pixel in mm; null: square pixels",
    )
    channels: Literal[1, 3] = Field(default=1, description="1: grey; 3: RGB")
    rgb_map: RgbMap = Field(
        default_factory=lung_alone,
        description="colour or colours of each class in mask files, background first",
    )
    labels: ClassLabels = Field(
        default_factory=dict,
        description="labels of each class in volumes and grey masks, others are background, such "
        "as {lung: [3, 4]}; {}: all labels are lung",
    )
    structures: Structures = Field(
        default_factory=dict,
        description="names of each class's contours (RTSTRUCT), organ files and nnU-Net labels, as "
        "regular expressions, such as {lung: lung_(l|r)}; {}: the usual names of the lungs",
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
    gallery: Literal["full", "small", "none"] = Field(
        default="small",
        description="gallery.html, a page to look at the masks: small: all slices of flagged cases "
        "and some of others; full: all slices; or none",
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
    tile_size: tuple[Side, Side] | None = Field(
        default=None,
        description="height and width of a tile in pixels, which is resized for the network; null: "
        "the network's own",
    )
    tile_overlap: Annotated[float, Field(ge=0, le=0.9)] = Field(
        default=0.25, description="tiles overlap by at least this share of their side"
    )
    probabilities: bool = Field(
        default=False, description="also write the probability of lung, 0..255, to probabilities/"
    )
    video: bool = Field(
        default=False, description="volumes: also write outlined slices as a film to overlays/"
    )
    video_format: Literal["gif", "mp4"] = Field(
        default="gif", description="gif, which browsers show; or mp4: all grey values, every slice"
    )
    video_fps: Annotated[float, Field(ge=1, le=50)] = Field(
        default=10.0, description="slices shown per second"
    )
    dicom_seg: bool = Field(
        default=False,
        description="DICOM folders: also write DICOM-SEG, with the patient's identity",
    )
    rtstruct: bool = Field(
        default=False,
        description="likewise RTSTRUCT, contours for radiotherapy, to rtstruct/",
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
        default_factory=DataConfig.model_construct,
        description="where the data are, and what a slice is",
    )
    prepare: PrepareConfig = Field(
        default_factory=PrepareConfig.model_construct,
        description="how raw pairs become checked slices",
    )
    split: SplitConfig = Field(
        default_factory=SplitConfig.model_construct,
        description="how slices are divided into train, valid and test",
    )
    augment: AugmentConfig = Field(
        default_factory=AugmentConfig.model_construct,
        description="random changes of the training slices",
    )
    model: ModelConfig = Field(
        default_factory=ResUNetConfig.model_construct, description="the network"
    )
    train: TrainConfig = Field(
        default_factory=TrainConfig.model_construct, description="how the network is trained"
    )
    evaluate: EvaluateConfig = Field(
        default_factory=EvaluateConfig.model_construct, description="how masks are scored"
    )
    infer: InferConfig = Field(
        default_factory=InferConfig.model_construct, description="how masks are predicted"
    )

    @field_validator("model")
    @classmethod
    def _network_takes_the_slices(cls, model: NetworkConfig, info: ValidationInfo) -> NetworkConfig:
        if "data" in info.data:
            model.check_image(info.data["data"].image_size)
        return model

    @field_validator("train")
    @classmethod
    def _monitor_is_computed(cls, train: TrainConfig, info: ValidationInfo) -> TrainConfig:
        # Without valid data the classes are not known, and that is an error of its own.
        if train.monitor == "last" or "data" not in info.data:
            return train
        classes = list(info.data["data"].rgb_map)
        known = ["loss", *train.metrics, *class_metrics(classes)]
        if train.monitor.removeprefix("val_") not in known:
            names = ", ".join(f"val_{name}" for name in known)
            raise ValueError(f"monitor: {train.monitor!r} is not computed; there are {names}, last")
        return train

    @property
    def learning_rate(self) -> float:
        """The highest learning rate of a training: `train.learning_rate`, or the network's own."""
        return self.train.learning_rate or self.model.learning_rate

    @property
    def num_classes(self) -> int:
        """Classes, background included."""
        return len(self.data.rgb_map)
