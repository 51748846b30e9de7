"""The sections of a config for making a data set: how slices are prepared and split."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from lungseg.config.fields import Amount, Count, Probability, Section


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
        default=0.25,
        description="volumes: slices without lung kept per slice with lung; of a volume without "
        "lung, kept per slice",
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
