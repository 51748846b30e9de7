"""Reading a YAML config, the files it extends, and overrides.

A config is data. It is read with a safe loader and never evaluated, and an unknown key is an error
that names the nearest known one.
"""

from __future__ import annotations

import contextlib
import copy
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lungseg.config.checking import (
    EXTENDS,
    RENAMED,
    Source,
    check,
    new_value,
    warn_of_old_name,
    with_new_names,
)
from lungseg.config.fields import Section
from lungseg.config.networks import DEFAULT_NETWORK
from lungseg.config.schema import Config
from lungseg.errors import UsageError

STANDARD_INPUT = Path("-")


def load_config(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a config file, apply `a.b=value` overrides in order, and check the result.

    Args:
        path: a YAML file, or `-` for standard input. None means the defaults. The file may extend
            another one: `extends: FILE`, relative to itself.
        overrides: texts such as `train.epochs=3`, or one of them; the value is YAML.

    Raises:
        UsageError: if a file is missing or is no config, or if keys are unknown or values wrong.
            The message lists all of them.

    Examples:
        >>> config = lungseg.load_config("lung.yaml", ["train.epochs=3", "seed=1"])
        >>> config.train.epochs, config.seed
        (3, 1)
    """
    sources = _read_chain(Path(path)) if path is not None else []
    origin = sources[-1][0] if sources else "the default config"
    data: dict[str, Any] = {}
    for _, layer in sources:
        data = _merge(data, layer)
    for override in [overrides] if isinstance(overrides, str) else overrides:
        keys, value = _parse_override(override)
        _write_out(data, keys)
        source: Source = (f"--set {override}", {})
        for target in (data, source[1]):
            set_key(target, keys, value)
        sources.append(source)
    return check(data, origin, sources)


def check_config(data: dict[str, Any], origin: str) -> Config:
    """Check plain data against the schema.

    Raises:
        UsageError: if there are errors; the message gives `origin` and lists all of them.
    """
    return check(data, origin, [])


def with_overrides(config: Config, values: Mapping[str, Any]) -> Config:
    """Return a config with some keys changed, after checking it again.

    Args:
        config: the config to start from.
        values: dotted key -> new value, for example `{"train.epochs": 3}`.

    Raises:
        UsageError: if a key is unknown or a value is wrong.
    """
    data = config.model_dump()
    for key, value in values.items():
        set_key(data, key.split("."), value)
    return check_config(data, "the changed config")


def with_absolute_paths(config: Config) -> Config:
    """Return the config with absolute paths; relative ones start at the current folder."""
    return Config.model_validate(_absolute(config.model_dump()))


def dump_config(config: Config, include: Mapping[str, Any] | None = None) -> str:
    """Return the config as YAML that loads to the same config.

    Args:
        config: the config.
        include: of which sections which keys are wanted; None for all.
    """
    import yaml

    return yaml.safe_dump(
        config.model_dump(mode="json", include=include),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,  # short lists stay on one line
        width=100,
    )


def set_key(data: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set a key in nested plain data; another `model.name` drops the old network's keys."""
    target = data
    for key in keys[:-1]:
        inner = target.get(key)
        if not isinstance(inner, dict):
            inner = target[key] = {}
        target = inner
    if list(keys) == ["model", "name"] and _network_of(target) != value:
        target.clear()
    target[keys[-1]] = value


def _write_out(data: dict[str, Any], keys: Sequence[str]) -> None:
    """Write the inner section that an override changes into the data, with all of its values.

    A file that has `augment.online` names all transforms that it wants, so a section that holds one
    key means that the others are off. An override of one key leaves the others as they are.
    """
    if len(keys) < 3:
        return
    with contextlib.suppress(UsageError):  # it is raised again when all is checked
        section = getattr(getattr(check_config(data, ""), keys[0], None), keys[1], None)
        if isinstance(section, Section):
            data.setdefault(keys[0], {})[keys[1]] = section.model_dump(mode="json")


def _absolute(value: Any) -> Any:
    if isinstance(value, Path):
        return Path(os.path.abspath(value))
    if isinstance(value, dict):
        return {key: _absolute(below) for key, below in value.items()}
    return [_absolute(below) for below in value] if isinstance(value, list) else value


def _read_chain(path: Path) -> list[Source]:
    """Return a config file and the files it extends, the base of all of them first."""
    sources: list[Source] = []
    seen: list[str] = []
    child = ""
    while True:
        first = not sources
        name = "standard input" if first and path == STANDARD_INPUT else str(path)
        data = _read(path, name, child)
        real = os.path.realpath(path)
        if real in seen:
            raise UsageError(
                f"{child}: extends {name}, which extends {child} itself, directly or through "
                "other files."
            )
        seen.append(real)
        base = data.pop(EXTENDS, None)
        data = with_new_names(data, name)
        if path.name == "config.yaml" and (path.parent / "data.csv").is_file():
            # A run of version 0.1 stretched slices, which its config does not say.
            data["data"] = {"square_pixels": False} | (data.get("data") or {})
        sources.insert(0, (name, data))
        if base is None:
            return sources
        if not isinstance(base, str) or not base:
            raise UsageError(f"{name}: extends: expected the name of a config file, not {base!r}.")
        path, child = path.parent / base, name


def _read(path: Path, name: str, child: str) -> dict[str, Any]:
    """Return what a config file holds; `child` is the file that extends it, if one does."""
    extended = f" ({child} extends it)" if child else ""
    try:
        if path == STANDARD_INPUT and not child:
            text = _read_standard_input()
        else:
            text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UsageError(f"{name}: there is no such config file{extended}.") from None
    except (OSError, ValueError) as problem:
        raise UsageError(f"{name}: the config cannot be read{extended}: {problem}.") from None
    from lungseg.config.strict_yaml import parse_yaml

    data = parse_yaml(text, name)
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise UsageError(
            f"{name}: a config is a mapping of sections (data:, train:, ...), "
            f"but this file holds a {type(data).__name__}."
        )
    return data


def _read_standard_input() -> str:
    if sys.stdin is None:
        raise UsageError("-c -: the config is read from standard input, but it is closed.")
    if sys.stdin.isatty():
        raise UsageError(
            "-c -: the config is read from standard input, but that is the terminal. Pipe a config "
            "into the command: lungseg config lung | lungseg train -c -"
        )
    return sys.stdin.buffer.read().decode("utf-8")


def _merge(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Merge `top` into `base`: sections key by key, every other value as a whole."""
    merged = copy.deepcopy(base)
    for key, value in top.items():
        below: Any = merged.get(key)
        # A colour map is one value, because the order of its classes gives their index. Labels and
        # structures belong to the classes of one map, and two patterns of names to each other.
        one = key in ("rgb_map", "labels", "structures", "pairing")
        both = isinstance(below, dict) and isinstance(value, dict) and not one
        if both and key == "model" and "name" in value:
            both = _network_of(below) == value["name"]
        merged[key] = _merge(below, value) if both else copy.deepcopy(value)
    return merged


def _network_of(model: dict[str, Any]) -> Any:
    return model.get("name", DEFAULT_NETWORK)


def _parse_override(override: str) -> tuple[Sequence[str], Any]:
    name, separator, text = override.partition("=")
    keys = tuple(name.strip().split("."))
    if not separator or not all(keys):
        raise UsageError(
            f"--set {override!r}: write it as section.key=value, for example train.epochs=3."
        )
    from lungseg.config.strict_yaml import parse_yaml  # without a config YAML is not needed

    value = parse_yaml(text, f"--set {name}")
    if keys in RENAMED:
        warn_of_old_name(f"--set {override}", keys, value)
    return RENAMED.get(keys, keys), new_value(keys, value)
