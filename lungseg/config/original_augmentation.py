"""The augmentation of the original system (`ImageMaskAugmentor`) in terms of ours.

The original writes or shows one copy for each value in its lists. Here each transform is drawn
anew for every slice, between nothing and the largest value of the list, with probability `CHANCE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CHANCE = 0.5
GRID_CELLS = 5  # of our grid distortion, along a side

# Switches of the section `augmentor`: those that have no section of their own.
SWITCHES = ("hflip", "vflip", "rotation", "angles", "shrinks", "shears")
# Switch -> (section with its values, the keys read there).
SECTIONS: dict[str, tuple[str, ...]] = {
    "deformation": ("alpah", "sigmoid", "sigmoids"),
    "distortion": ("distortions", "gaussian_filter_rsigma", "gaussian_filter_sigma"),
    "sharpening": ("k",),
    "brightening": ("alpha", "beta"),
    "barrdistortion": ("radius", "amount", "centers"),
    "pincdistortion": ("radius", "amount", "centers"),
}
WITHOUT = {
    ("distortion", "gaussian_filter_rsigma"): "a grid distortion has cells, not a smoothness",
    ("distortion", "gaussian_filter_sigma"): "the original does not use it either",
    ("barrdistortion", "radius"): "the distortion is of the whole slice",
    ("barrdistortion", "centers"): "the distortion is about the middle of the slice",
    ("pincdistortion", "radius"): "the distortion is of the whole slice",
    ("pincdistortion", "centers"): "the distortion is about the middle of the slice",
}


def convert_augmentation(given: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    """Return our transforms for a config of the original; empty if it does not augment.

    Args:
        given: `(section, key)` -> value.

    Raises:
        TypeError, ValueError: if a value makes no sense.
    """
    if not (given.get(("model", "generator")) and given.get(("generator", "augmentation"), True)):
        return {}

    def switch(key: str, default: Any = False) -> Any:
        return given.get(("augmentor", key), default)

    def value(section: str, key: str, default: Any) -> Any:
        return given.get((section, key), default)

    online: dict[str, Any] = {}
    # The defaults are the original's.
    for flip in ("hflip", "vflip"):
        if switch(flip, True):
            online[flip] = CHANCE
    turns = [float(angle) % 360 for angle in switch("angles", [90, 180, 270])]
    shrinks = [float(size) for size in switch("shrinks", [0.8]) or []]
    affine: dict[str, float] = {}
    if switch("rotation", True) and turns:
        if all(turn % 90 == 0 for turn in turns):
            online["rotate90"] = CHANCE
        else:
            affine["rotate"] = max(min(turn, 360 - turn) for turn in turns)
    if shrinks:
        affine["scale"] = round(max(abs(1 - size) for size in shrinks), 6)
    if affine:
        online["affine"] = {"p": CHANCE, "rotate": 0, "scale": 0, "shift": 0} | affine
    if shears := [abs(float(shear)) for shear in switch("shears", []) or []]:
        online["shear"] = _transform(max(shears))
    if switch("deformation"):
        # The original reads the misspelt key.
        sigmas = value("deformation", "sigmoids", None) or [value("deformation", "sigmoid", 8)]
        online["elastic"] = {
            "p": CHANCE,
            "alpha": value("deformation", "alpah", 1300),
            "sigma": float(sigmas[0]),
        }
    if switch("distortion"):
        # A share of the slice there, of a cell of the grid here.
        share = max(float(size) for size in value("distortion", "distortions", [0.02]))
        online["grid"] = _transform(GRID_CELLS * share)
    if switch("sharpening"):
        online["sharpen"] = _transform(float(value("sharpening", "k", 1.0)))
    if switch("brightening"):
        online["brightness"] = {
            **_transform(abs(float(value("brightening", "beta", 10))) / 255),
            "contrast": round(abs(float(value("brightening", "alpha", 1.2)) - 1), 6),
        }
    bends = [
        abs(float(value(section, "amount", 0.5)))
        for section in ("barrdistortion", "pincdistortion")
        if switch(section)
    ]
    if bends:
        online["barrel"] = _transform(max(bends))
    return online


def _transform(limit: float) -> dict[str, float]:
    """Return a transform with a limit, which lies between 0 and 1 here."""
    return {"p": CHANCE, "limit": round(max(0.001, min(limit, 1.0)), 6)}
