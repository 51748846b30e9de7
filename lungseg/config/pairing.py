"""How images and masks are paired, and which named structures are lung."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo, model_validator

from lungseg.config.fields import Section

PairingName = Literal[
    "stem",
    "suffix",
    "nnunet",
    "totalsegmentator",
    "luna16",
    "covid19-ct-seg",
    "lctsc",
    "original",
]

# Names of the lungs and their parts: `Lung_L` and `Lung_RUL` (TG-263), `Lungs-Total`, `Left Lung`,
# `lung_upper_lobe_left` (TotalSegmentator). `Lungs-GTV`, `lung_vessels` and `PRV_Lung` are none.
_SIDE = r"(?:l|r|lt|rt|left|right|both|bilateral|total|all)"
_LOBE = r"(?:(?:upper|middle|lower)[\W_]*lobe|lul|lll|rul|rml|rll)"
LUNG_NAMES = rf"(?:{_SIDE}[\W_]*)?lungs?(?:[\W_]*{_LOBE})?(?:[\W_]*{_SIDE})?[\W_]*"


def _compiled(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as problem:
        raise ValueError(f"not a regular expression: {problem}") from None
    return pattern


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_compiled)]


class PairPatterns(Section):
    """Regular expressions that find the part of a name which an image and its mask share."""

    images: Pattern | None = Field(
        default=None,
        description=r"for example image_(.+); without a group, what it matches is removed",
    )
    masks: Pattern | None = Field(default=None, description=r"for example mask_(.+), or _mask$")

    @model_validator(mode="after")
    def _patterns_agree(self) -> PairPatterns:
        given = [pattern for pattern in (self.images, self.masks) if pattern is not None]
        counts = [re.compile(pattern).groups for pattern in given]
        if not given:
            raise ValueError("give a pattern for the images, for the masks or for both")
        if len(counts) == 2 and all(counts) and counts[0] != counts[1]:
            raise ValueError(
                f"the pattern for images has {counts[0]} groups and the one for masks {counts[1]}, "
                "but the groups are paired one by one"
            )
        return self


def _kind(pairing: Any) -> str:
    """Tell a name from patterns, so that an error is about the one that was meant."""
    return "patterns" if isinstance(pairing, (Mapping, PairPatterns)) else "name"


Pairing = Annotated[
    Annotated[PairingName, Tag("name")] | Annotated[PairPatterns, Tag("patterns")],
    Discriminator(_kind),
]


def _structures_have_a_class(patterns: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    # If rgb_map is wrong, that is an error of its own, and it is not in `info`.
    classes = list(info.data.get("rgb_map", patterns))
    for name in patterns:
        if name not in classes:
            raise ValueError(f"{name!r} is not a class of rgb_map: {', '.join(classes)}")
    return patterns


Structures = Annotated[dict[str, Pattern], AfterValidator(_structures_have_a_class)]


def structures_of(
    structures: Mapping[str, str], classes: Mapping[str, Any] | list[str]
) -> dict[str, str]:
    """Return the patterns of the names of structures.

    Args:
        structures: `data.structures`.
        classes: the names of the classes, background first.

    Returns:
        The given patterns. Without any, the usual names of the lungs if there is one class beside
        the background, else the names of the classes.
    """
    names = list(classes)[1:]
    if structures:
        return dict(structures)
    if len(names) == 1:
        return {names[0]: LUNG_NAMES}
    return {name: r"[\W_]*".join(map(re.escape, re.findall(r"[^\W_]+", name))) for name in names}


def class_of(name: str, structures: Mapping[str, str]) -> str | None:
    """Return the class of a structure by its name, None if it has none.

    Args:
        name: of an ROI of an RTSTRUCT, an organ's file, or a label in `dataset.json`.
        structures: pattern of each class. The whole name must match; upper and lower case are one.
    """
    for wanted, pattern in structures.items():
        if re.fullmatch(pattern, name.strip(), re.IGNORECASE):
            return wanted
    return None
