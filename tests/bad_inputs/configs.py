"""Configs that are no YAML, no config, or an attack."""

from __future__ import annotations

from pathlib import Path

from tests.bad_inputs.kinds import USAGE, config, kind


def text(folder: Path, content: str | bytes) -> None:
    """Write `bad.yaml`."""
    raw = content.encode() if isinstance(content, str) else content
    (folder / "bad.yaml").write_bytes(raw)


@config()
def yaml_bomb(folder: Path) -> None:
    """YAML whose anchors stand for a billion texts."""
    lines = ['a0: &a0 ["lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol", "lol"]']
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    text(folder, "\n".join(lines))


@config()
def yaml_duplicate_key(folder: Path) -> None:
    """YAML that gives a key twice."""
    text(folder, "train:\n  epochs: 3\n  epochs: 4\n")


@config()
def yaml_tabs(folder: Path) -> None:
    """YAML indented by tabs."""
    text(folder, "train:\n\tepochs: 3\n")


@config()
def yaml_code(folder: Path) -> None:
    """YAML with a tag that runs code."""
    text(folder, 'seed: !!python/object/apply:os.mkdir ["attacked"]\n')


@config()
def yaml_wrong_type(folder: Path) -> None:
    """YAML with a text in place of a number, and a list in place of a section."""
    text(folder, "train:\n  epochs: many\nsplit: [1, 2]\n")


@config()
def yaml_out_of_range(folder: Path) -> None:
    """YAML with a probability of 7 and a negative number of epochs."""
    text(folder, "augment:\n  online:\n    hflip: 7\ntrain:\n  epochs: -3\n")


@config("epochs")
def yaml_unknown_key(folder: Path) -> None:
    """YAML with a misspelt key."""
    text(folder, "train:\n  epoch: 3\n")


@config()
def yaml_not_a_number(folder: Path) -> None:
    """YAML with a learning rate that is not a number, and one end of the window infinite."""
    text(folder, "train:\n  learning_rate: .nan\ndata:\n  window: [-.inf, 400]\n")


@config()
def yaml_huge_number(folder: Path) -> None:
    """YAML with an image size of a billion pixels per side."""
    text(folder, "data:\n  image_size: [1000000000, 1000000000]\n")


@config()
def yaml_long_number(folder: Path) -> None:
    """YAML with an integer of 10,000 digits."""
    text(folder, f"seed: {'9' * 10_000}\n")


@config()
def yaml_nested(folder: Path) -> None:
    """YAML nested 100,000 deep."""
    text(folder, "[" * 100_000)


@config()
def yaml_list(folder: Path) -> None:
    """YAML that is a list."""
    text(folder, "- train\n- split\n")


@config()
def yaml_binary(folder: Path) -> None:
    """Bytes that are not text."""
    text(folder, bytes(range(256)))


@config()
def yaml_cut_short(folder: Path) -> None:
    """YAML that ends within a bracket."""
    text(folder, "data:\n  window: [-1000, ")


@config()
def yaml_bad_pattern(folder: Path) -> None:
    """YAML with an invalid regular expression."""
    text(folder, 'split:\n  group_regex: "(patient"\n')


@config()
def yaml_is_a_folder(folder: Path) -> None:
    """A folder in place of the config file."""
    (folder / "bad.yaml").mkdir()


@config()
def yaml_missing(folder: Path) -> None:
    """A config that does not exist."""


@kind("split", "-s", "train.epochs", "-o", "out", exit_code=USAGE, says="train.epochs")
def override_without_value(folder: Path) -> None:
    """An override without a value."""
