"""Checking plain data against the schema, with one report of all errors."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import ValidationError

from lungseg.config.fields import Section
from lungseg.config.networks import DEFAULT_NETWORK, NETWORK_CONFIGS
from lungseg.config.schema import Config
from lungseg.errors import UsageError
from lungseg.system import console

# Names of version 0.1 that this version still accepts.
RENAMED: dict[tuple[str, ...], tuple[str, ...]] = {
    ("prepare", "workers"): ("prepare", "threads"),
    ("evaluate", "workers"): ("evaluate", "threads"),
    ("train", "tensorboard"): ("train", "log"),
}

# Plain data, and the file or override that it comes from.
Source = tuple[str, dict[str, Any]]
EXTENDS = "extends"


def check(data: dict[str, Any], origin: str, sources: Sequence[Source]) -> Config:
    """Check plain data against the schema.

    Args:
        data: nested by section.
        origin: file that the data are from, for messages.
        sources: what the data were merged from, to name the source of an error. If two of them set
            a key, the later one holds.

    Raises:
        UsageError: if there are unknown keys or wrong values; the message lists all of them.
    """
    if not data:  # the defaults are right, and to check them would take a tenth of a second
        return Config.model_construct()
    data = with_new_names(data, origin)
    if isinstance(data.get("model"), dict) and "name" not in data["model"]:
        # The parameters alone mean the default network; pydantic wants the name spelled out.
        data = {**data, "model": {"name": DEFAULT_NETWORK, **data["model"]}}
    try:
        return Config.model_validate(data)
    except ValidationError as problem:
        lines = [
            f"  {_explain(error)}{_source_of(error, origin, sources)}"
            for error in problem.errors(include_url=False)
        ]
        count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
        raise UsageError(f"{origin}: {count} in the config:\n" + "\n".join(lines)) from None


def with_new_names(data: dict[str, Any], origin: str) -> dict[str, Any]:
    """Return the data with keys of version 0.1 under their new names."""
    for old, new in RENAMED.items():
        section = data.get(old[0])
        if not isinstance(section, dict) or old[1] not in section:
            continue
        if new[1] in section:
            raise UsageError(
                f"{origin}: {'.'.join(old)} is the old name of {'.'.join(new)}; give one of them."
            )
        warn_of_old_name(origin, old, section[old[1]])
        # The new key takes the place of the old one, so the order of the keys stays.
        renamed = {
            new[1] if key == old[1] else key: new_value(old, value) if key == old[1] else value
            for key, value in section.items()
        }
        data = {**data, old[0]: renamed}
    return data


def new_value(old: tuple[str, ...], value: Any) -> Any:
    """Return what the value of a key of version 0.1 is called under its new name."""
    if old == ("train", "tensorboard") and isinstance(value, bool):
        return ["csv", "tensorboard"] if value else ["csv"]
    return value


def warn_of_old_name(origin: str, old: tuple[str, ...], value: Any) -> None:
    """Warn about a key with a name of version 0.1."""
    if old == ("train", "tensorboard") and value is False:
        return  # it is in the config of every old run, and asks for nothing
    console.warn(
        f"{origin}: {'.'.join(old)} is now called {'.'.join(RENAMED[old])}; the old name works in "
        "this version only."
    )


def _location(error: Mapping[str, Any]) -> list[str | int]:
    """Return the keys that lead to an error, as a person wrote them."""
    keys = list(error["loc"])
    if error["type"] == "union_tag_invalid":
        return [*keys, "name"]
    # Pydantic puts the member of a union into the path: the network's name below `model`, and
    # whether a class of `rgb_map` has one colour or several, or `pairing` a name or patterns.
    if keys[:2] == ["data", "pairing"]:
        return keys[:2] + keys[3:]
    if keys[:2] == ["data", "rgb_map"]:
        return keys[:3] + keys[4:]
    return keys[:1] + keys[2:] if keys[:1] == ["model"] else keys


def _explain(error: Mapping[str, Any]) -> str:
    path = ".".join(str(part) for part in _location(error)) or "config"
    if path == EXTENDS:
        return f"{path}: only a config file can extend another"
    if error["type"] == "extra_forbidden":
        return f"{path}: unknown key{_nearest(error['loc'])}"
    if error["type"] == "union_tag_invalid":
        return f"{path}: {error['ctx']['tag']!r} is not one of {error['ctx']['expected_tags']}"
    if error["type"] == "value_error":
        return f"{path}: {error['msg'].removeprefix('Value error, ')}"
    return f"{path}: {error['msg']}, not {error['input']!r}"


def _source_of(error: Mapping[str, Any], origin: str, sources: Sequence[Source]) -> str:
    """Name the file or override that a wrong value comes from, if it is not the config itself."""
    for name, data in reversed(sources):
        value: Any = data
        try:
            for part in _location(error):
                value = value[part]
        except (KeyError, IndexError, TypeError):
            continue
        # An error that concerns a whole section may come from several sources.
        whole = isinstance(value, dict) and error["type"] == "value_error"
        return "" if whole or name == origin else f" (in {name})"
    return ""


def _nearest(location: Sequence[str | int]) -> str:
    """Name the nearest key of the section that holds an unknown key, or all its keys."""
    *above, wrong = location
    section: type[Section] = Config
    if above[:1] == ["model"]:
        section, above = NETWORK_CONFIGS[str(above[1])], above[2:]
    if above[:2] == ["data", "pairing"]:
        above = above[:2]
    for part in above:
        section = _sections_in(section.model_fields[str(part)].annotation)[0]
    known = [*section.model_fields, *([EXTENDS] if section is Config else [])]
    close = difflib.get_close_matches(str(wrong), known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else f"; this section has: {', '.join(known)}"


def _sections_in(annotation: Any) -> list[type[Section]]:
    if get_origin(annotation) is not None:
        return [section for part in get_args(annotation) for section in _sections_in(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, Section) else []
