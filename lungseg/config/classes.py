"""The classes of a config: their colours in mask files, and the labels of other tools."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, cast

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationInfo

from lungseg.config.fields import Colour


def _how_many(colours: Any) -> str:
    """Tell one colour from several, so that an error is about the one that was meant."""
    first = colours[0] if isinstance(colours, (list, tuple)) and colours else None
    return "several" if isinstance(first, (list, tuple)) else "one"


def several(colours: Colour | tuple[Colour, ...]) -> tuple[Colour, ...]:
    """Return the colours of a class, also if it has only one."""
    return cast("tuple[Colour, ...]", colours if _how_many(colours) == "several" else (colours,))


def _colours_differ(rgb_map: dict[str, ClassColours]) -> dict[str, ClassColours]:
    if not 2 <= len(rgb_map) <= 255:
        raise ValueError("between 2 and 255 classes are needed, background first")
    colours = [each for colours in rgb_map.values() for each in several(colours)]
    if len(set(colours)) != len(colours):
        raise ValueError("two classes have the same colour, or one has it twice")
    return rgb_map


def _labels_have_a_class(
    labels: dict[str, list[int]], info: ValidationInfo
) -> dict[str, list[int]]:
    # If rgb_map is wrong, that is an error of its own, and it is not in `info`.
    classes = info.data.get("rgb_map", labels)
    for name in labels:
        if name not in classes:
            raise ValueError(f"{name!r} is not a class of rgb_map: {', '.join(classes)}")
    codes = [each for codes in labels.values() for each in codes]
    if len(set(codes)) != len(codes):
        raise ValueError("a label is given twice")
    return labels


ClassColours = Annotated[
    Annotated[Colour, Tag("one")] | Annotated[tuple[Colour, ...], Tag("several")],
    Discriminator(_how_many),
]
RgbMap = Annotated[dict[str, ClassColours], AfterValidator(_colours_differ)]

Label = Annotated[int, Field(ge=1, le=255)]
ClassLabels = Annotated[
    dict[str, Annotated[list[Label], Field(min_length=1)]], AfterValidator(_labels_have_a_class)
]


def lung_alone() -> dict[str, ClassColours]:
    """Return the classes of a config that names none."""
    return {"background": (0, 0, 0), "lung": (255, 255, 255)}


_SIDES = {"left": "right", "right": "left"}
_LUNG = {"lung", "lungs", "lobe", "lobes", *_SIDES}
_IN_LUNG = {"infection", "lesion", "nodule", "tumour", "tumor", "consolidation", "opacity"}


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", name.casefold())


def is_lung(name: str) -> bool:
    """Whether a class is lung by its name, which has the word lung, lobe, left or right."""
    return not _LUNG.isdisjoint(_words(name))


def is_in_lung(name: str) -> bool:
    """Whether a class is lung or disease of the lung by its name."""
    words = {word.removesuffix("s") for word in _words(name)}
    return is_lung(name) or not _IN_LUNG.isdisjoint(words)


def lung_classes(classes: Sequence[str]) -> list[str]:
    """Return the classes that are the lung together: lung and disease of it by their names.

    There are none if no class is lung by its name, because disease alone is not the lung.

    Args:
        classes: names by index, background first.
    """
    if not any(is_lung(name) for name in classes[1:]):
        return []
    return [name for name in classes[1:] if is_in_lung(name)]


def joined(classes: Sequence[str]) -> str:
    """Return the name of classes that are taken as one, such as `left lung + right lung`."""
    return " + ".join(classes)


def mirrored(classes: Sequence[str]) -> list[int]:
    """Return the index that each class has in a mirrored slice: left becomes right.

    Classes are one another's mirror image if their names differ only in `left` and `right`. A class
    of one side that has no other is its own.
    """
    words = [_words(name) for name in classes]
    others = [[_SIDES.get(word, word) for word in each] for each in words]
    return [
        words.index(other) if other != each and other in words else index
        for index, (each, other) in enumerate(zip(words, others, strict=True))
    ]


def one_sided(classes: Sequence[str]) -> list[str]:
    """Return the classes that have a side in their name, but no class for the other side."""
    return [
        name
        for index, (name, other) in enumerate(zip(classes, mirrored(classes), strict=True))
        if index == other and not _SIDES.keys().isdisjoint(_words(name))
    ]


def class_metrics(classes: Sequence[str]) -> dict[str, int]:
    """Return the names of the metrics of each class, with its index; none of a single class.

    Args:
        classes: names by index, background first.
    """
    if len(classes) == 2:
        return {}
    metrics: dict[str, int] = {}
    for index, name in enumerate(classes[1:], 1):
        metric = "dice_" + re.sub(r"\W+", "_", name)
        # Two names may differ only in what is left out here.
        metrics[f"{metric}_{index}" if metric in metrics else metric] = index
    return metrics
