"""The anatomy of a phantom patient, drawn at random from a seed.

Lengths are in units of half the field of view, and `z` runs from 0 (apex) to 1 (base).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# Mean density of lung tissue over the patients.
LUNG_HU = -860.0


@dataclass(frozen=True)
class Vessel:
    """A vessel in a lung: a tube that drifts from slice to slice and becomes thinner.

    Attributes:
        x: centre at `start`.
        y: centre at `start`.
        dx: drift per unit of z.
        dy: drift per unit of z.
        radius: mean radius.
        start: z of its upper end.
        end: z of its lower end.
        stretch: length divided by width of its cross-section.
        angle: direction of the length in the slice, in radians.
    """

    x: float
    y: float
    dx: float
    dy: float
    radius: float
    start: float
    end: float
    stretch: float
    angle: float


@dataclass(frozen=True)
class Lesion:
    """A lesion: an irregular ball.

    Attributes:
        kind: `nodule` or `consolidation`.
        x: centre.
        y: centre.
        z: centre.
        radius: mean radius.
        phase: rotation of the irregular outline, in radians.
    """

    kind: str
    x: float
    y: float
    z: float
    radius: float
    phase: float


@dataclass(frozen=True)
class Patient:
    """The anatomy drawn from one seed.

    Attributes:
        seed: the seed.
        width: half the width of the body.
        depth: half its depth from front to back.
        shift: offset of the body from the middle of the slice, `(x, y)`.
        tilt: rotation of the body in the slice, in radians.
        fat: thickness of the fat under the skin.
        cavity: half width and half depth of the thoracic cavity.
        wobble: random numbers that bend contours and shift phases.
        heart: centre x and y and radii x and y.
        dome: z at which the right and the left dome of the diaphragm begin.
        parenchyma: density of lung tissue in HU.
        contrast: enhancement of blood in HU; 0 without contrast agent.
        noise: standard deviation of the fine noise in HU.
        sharpness: width of the blur; larger is softer.
        vessels: the vessels of both lungs.
        lesions: nodules and consolidation.
        effusion: depth of the fluid on the right and on the left; 0 for none.
    """

    seed: int
    width: float
    depth: float
    shift: tuple[float, float]
    tilt: float
    fat: float
    cavity: tuple[float, float]
    wobble: tuple[float, ...]
    heart: tuple[float, float, float, float]
    dome: tuple[float, float]
    parenchyma: float
    contrast: float
    noise: float
    sharpness: float
    vessels: tuple[Vessel, ...] = field(repr=False)
    lesions: tuple[Lesion, ...] = ()
    effusion: tuple[float, float] = (0.0, 0.0)


def make_patient(seed: int) -> Patient:
    """Draw a patient. About three of four are ill. The same seed gives the same patient."""
    rng = np.random.default_rng([seed, 0x1E55])
    width, depth = rng.uniform(0.80, 0.93), rng.uniform(0.56, 0.68)
    fat = rng.uniform(0.03, 0.10)
    cavity = (width * rng.uniform(0.84, 0.88) - fat * 0.5, depth * rng.uniform(0.80, 0.85))
    vessels = _draw_vessels(rng)
    lesions = _draw_lesions(rng)
    effusion = [0.0, 0.0]
    if rng.random() < 0.25:
        effusion[int(rng.integers(2))] = float(rng.uniform(0.05, 0.16))
    return Patient(
        seed=seed,
        width=width,
        depth=depth,
        shift=(float(rng.normal(0, 0.03)), float(rng.normal(-0.02, 0.03))),
        tilt=float(rng.normal(0, 0.04)),
        fat=fat,
        cavity=cavity,
        wobble=tuple(rng.normal(0, 1, 24).tolist()),
        heart=(
            float(rng.uniform(0.06, 0.13)),
            float(rng.uniform(-0.14, -0.06)),
            float(rng.uniform(0.24, 0.31)),
            float(rng.uniform(0.22, 0.28)),
        ),
        dome=(float(rng.uniform(0.62, 0.74)), float(rng.uniform(0.68, 0.80))),
        parenchyma=float(rng.normal(LUNG_HU, 25)),
        contrast=float(rng.choice([0.0, rng.uniform(60, 180)])),
        noise=float(rng.uniform(12, 40)),
        sharpness=float(rng.uniform(0.5, 0.9)),
        vessels=tuple(vessels),
        lesions=tuple(lesions),
        effusion=(effusion[0], effusion[1]),
    )


def _draw_vessels(rng: np.random.Generator) -> list[Vessel]:
    vessels = []
    for side in (-1, 1):
        for _ in range(150):
            # Vessels are many and wide near the hilum, few and thin near the pleura.
            away = rng.beta(1.0, 1.2)
            angle = rng.uniform(-1.45, 1.45)
            start = rng.uniform(-0.1, 0.95)
            vessels.append(
                Vessel(
                    x=side * (0.20 + away * 0.42 * np.cos(angle)),
                    y=0.04 + away * 0.48 * np.sin(angle),
                    dx=side * rng.normal(0.1, 0.25),
                    dy=rng.normal(0, 0.3),
                    radius=float(0.0035 + 0.014 * (1 - away) ** 2.5 * rng.uniform(0.3, 1.3)),
                    start=start,
                    end=start + rng.uniform(0.05, 0.3),
                    stretch=float(1 + abs(rng.normal(0, 3.0))),
                    angle=float(angle * side + rng.normal(0, 0.4)),
                )
            )
    return vessels


def _draw_lesions(rng: np.random.Generator) -> list[Lesion]:
    lesions = []
    if rng.random() < 0.5:
        for _ in range(int(rng.integers(1, 4))):
            lesions.append(_draw_lesion(rng, "nodule", rng.uniform(0.02, 0.06)))
    if rng.random() < 0.3:
        lesions.append(_draw_lesion(rng, "consolidation", rng.uniform(0.10, 0.2)))
    return lesions


def _draw_lesion(rng: np.random.Generator, kind: str, radius: float) -> Lesion:
    side = rng.choice([-1, 1])
    reach = 0.46 if kind == "consolidation" else rng.uniform(0.25, 0.45)
    angle = rng.uniform(-0.9, 0.9)
    return Lesion(
        kind,
        x=float(side * reach * np.cos(angle) * 1.1),
        y=float(reach * np.sin(angle)),
        z=float(rng.uniform(0.2, 0.8)),
        radius=float(radius),
        phase=float(rng.uniform(0, 6)),
    )
