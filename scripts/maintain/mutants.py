"""Choose lines of lungseg to change, one place at a time, spread over the packages by a seed.

cosmic-ray makes the changes (`make mutate` installs it).
"""

from __future__ import annotations

import ast
import random
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

PACKAGES = (
    "lungseg/evaluation",
    "lungseg/dataset",
    "lungseg/inference",
    "lungseg/imaging",
    "lungseg/training",
)
ONLY = {"lungseg/training": ("losses.py", "callbacks.py")}
# Bits in place of arithmetic are an error of floats at once, which any test notices.
TOO_EASY = re.compile(r"BinaryOperator_(Add|Sub|Mul|Div|FloorDiv|Mod|Pow)_(Bit|LShift|RShift)")


@dataclass(frozen=True)
class Mutant:
    """One change: the file, the line, cosmic-ray's operator, and the line before and after."""

    file: str
    line: int
    operator: str
    occurrence: int
    before: str
    after: str

    def __str__(self) -> str:
        """Return the change as it is listed."""
        return f"{self.file}:{self.line}: {self.before}  ->  {self.after}"


@dataclass(frozen=True)
class Place:
    """A place in a file, and all changes that cosmic-ray would make there."""

    file: str
    position: tuple[int, int]
    changes: list[tuple[str, int]]


def sources(root: Path) -> list[str]:
    """Return the files to change, relative to the root."""
    return [
        path.relative_to(root).as_posix()
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        if path.name in ONLY.get(package, (path.name,))
    ]


def package_of(file: str) -> str:
    """Return the package in `PACKAGES` that a file belongs to."""
    return next(package for package in PACKAGES if file.startswith(package + "/"))


def places(root: Path) -> list[Place]:
    """Return every place that cosmic-ray can change, in the order of files and lines."""
    from cosmic_ray.commands.init import init
    from cosmic_ray.work_db import WorkDB, use_db

    found: dict[tuple[str, tuple[int, int]], list[tuple[str, int]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        use_db(Path(folder) / "session.sqlite", WorkDB.Mode.create) as session,
    ):
        init([root / file for file in sources(root)], session, {})
        for item in session.work_items:
            [spec] = item.mutations
            if TOO_EASY.search(spec.operator_name):
                continue
            file = Path(spec.module_path).relative_to(root).as_posix()
            changes = found.setdefault((file, tuple(spec.start_pos)), [])
            changes.append((spec.operator_name, spec.occurrence))
    return [Place(*key, sorted(changes)) for key, changes in sorted(found.items())]


def spread(candidates: Sequence[Place], seed: int) -> Iterator[tuple[Place, tuple[str, int]]]:
    """Yield one random change of each place, by turns from each package, in an order of the seed.

    An operator such as `+` has eleven changes and a number two, so places are drawn, not changes.
    """
    rng = random.Random(seed)
    queues: dict[str, list[Place]] = {package: [] for package in PACKAGES}
    for place in candidates:
        queues[package_of(place.file)].append(place)
    for queue in queues.values():
        rng.shuffle(queue)
    while any(queues.values()):
        for queue in queues.values():
            if queue:
                place = queue.pop()
                yield place, rng.choice(place.changes)


def same_program(one: str, other: str) -> bool:
    """Whether two sources differ at most in the types of names, which Python does not check."""

    def without_types(source: str) -> str:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            for name in ("annotation", "returns"):
                if hasattr(node, name):
                    setattr(node, name, None)
        return ast.dump(tree)

    return without_types(one) == without_types(other)


def choose(root: Path, count: int, seed: int) -> list[Mutant]:
    """Choose `count` changes, spread evenly over the packages; fewer if there are no more."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    chosen: list[Mutant] = []
    for place, (operator, occurrence) in spread(places(root), seed):
        if len(chosen) == count:
            break
        source = (root / place.file).read_text(encoding="utf-8")
        try:
            changed = mutate_code(source, get_operator(operator)(), occurrence)
            if changed is None or same_program(source, changed):
                continue
        except (AttributeError, SyntaxError):
            # cosmic-ray 8.7 cannot replace an exception with a dotted name, and takes `*` and `**`
            # in front of an argument for a product.
            continue
        pairs = zip(source.splitlines(), changed.splitlines(), strict=False)
        before, after = next((a.strip(), b.strip()) for a, b in pairs if a != b)
        line = place.position[0]
        chosen.append(Mutant(place.file, line, operator, occurrence, before, after))
    return chosen
