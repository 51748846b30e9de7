"""The classes of a config: their colours in mask files, and the labels of other tools."""

from __future__ import annotations

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
