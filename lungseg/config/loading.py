"""Reading a YAML config, with overrides, and saying all that is wrong with it at once."""

from __future__ import annotations

import difflib
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, get_args, get_origin

import yaml
from pydantic import ValidationError

from lungseg.config.fields import Section
from lungseg.config.networks import ResUNetConfig
from lungseg.config.schema import Config
from lungseg.errors import UsageError


class _StrictLoader(yaml.SafeLoader):
    """YAML without its traps: a key given twice and an alias are errors, not surprises."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(
                None, None, "anchors and aliases are not allowed in a config", event.start_mark
            )
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} is given twice", key_node.start_mark
                )
            if isinstance(key, Hashable):
                seen.add(key)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str, origin: str) -> Any:
    """Parse YAML text as plain data.

    Raises:
        UsageError: naming `origin`, the line and the problem.
    """
    try:
        return yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(problem, "problem", None) or str(problem).splitlines()[0]
        raise UsageError(f"{origin}{where}: this is not a usable YAML file: {what}.") from None


def load_config(path: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a config file, apply `a.b=value` overrides in order, and check the result.

    Args:
        path: a YAML file; without one the defaults hold, which `configs/lung.yaml` spells out.
        overrides: texts such as `train.epochs=3`; the value is YAML.

    Raises:
        UsageError: listing every unknown key and wrong value at once.

    Example:
        >>> config = lungseg.load_config("lung.yaml", ["train.epochs=3", "seed=1"])
        >>> config.train.epochs, config.seed
        (3, 1)
    """
    path = None if path is None else Path(path)
    origin = str(path) if path else "the default config"
    data: Any = {}
    if path is not None:
        try:
            data = parse_yaml(path.read_text(encoding="utf-8"), origin)
        except FileNotFoundError:
            raise UsageError(f"{path}: there is no such config file.") from None
        except (OSError, UnicodeDecodeError) as problem:
            raise UsageError(f"{path}: the config cannot be read: {problem}.") from None
    data = {} if data is None else data
    if not isinstance(data, dict):
        raise UsageError(
            f"{origin}: a config is a mapping of sections (data:, train:, ...), "
            f"but this file holds a {type(data).__name__}."
        )
    for override in overrides:
        _apply_override(data, override)
    return check_config(data, origin)


def check_config(data: dict[str, Any], origin: str) -> Config:
    """Check plain data against the schema; raise one `UsageError` with all that is wrong."""
    if isinstance(data.get("model"), dict) and "name" not in data["model"]:
        # The parameters alone mean the default network; pydantic wants the name spelled out.
        data = {**data, "model": {"name": ResUNetConfig().name, **data["model"]}}
    try:
        return Config.model_validate(data)
    except ValidationError as problem:
        lines = [f"  {line}" for line in _explain(problem)]
        count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
        raise UsageError(f"{origin}: {count} in the config:\n" + "\n".join(lines)) from None


def dump_config(config: Config) -> str:
    """Return the config as YAML that loads to the same config."""
    return yaml.safe_dump(
        config.model_dump(mode="json"),
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=None,  # short lists stay on one line
        width=100,
    )


def _apply_override(data: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    keys = name.strip().split(".")
    if not separator or not all(keys):
        raise UsageError(
            f"--set {override!r}: write it as section.key=value, for example train.epochs=3."
        )
    target = data
    for key in keys[:-1]:
        inner = target.get(key)
        if not isinstance(inner, dict):
            inner = target[key] = {}
        target = inner
    value = parse_yaml(text, f"--set {name}")
    if keys == ["model", "name"] and target.get("name") != value:
        target.clear()  # another network has other parameters; the old one's would be unknown keys
    target[keys[-1]] = value


def _explain(problem: ValidationError) -> list[str]:
    lines = []
    for error in problem.errors(include_url=False):
        # The discriminator puts the network's name into the path; a person did not write it there.
        location = [part for part in error["loc"] if part not in ("flexunet", "resunet")]
        path = ".".join(str(part) for part in location) or "config"
        if error["type"] == "extra_forbidden":
            lines.append(f"{path}: unknown key{_nearest(location, problem)}")
        elif error["type"] == "union_tag_invalid":
            expected = error["ctx"]["expected_tags"]
            lines.append(f"{path}.name: {error['ctx']['tag']!r} is none of {expected}")
        elif error["type"] == "value_error":
            lines.append(f"{path}: {error['msg'].removeprefix('Value error, ')}")
        else:
            lines.append(f"{path}: {error['msg']}, not {error['input']!r}")
    return lines


def _nearest(location: list[Any], problem: ValidationError) -> str:
    """Say which keys the section has, the nearest one first."""
    sections: list[Any] = [Config]
    for part in location[:-1]:
        found = []
        for section in sections:
            field = getattr(section, "model_fields", {}).get(part)
            found += _sections_in(field.annotation) if field else []
        sections = found
    known = sorted({key for section in sections for key in section.model_fields})
    close = difflib.get_close_matches(str(location[-1]), known, n=1, cutoff=0.5)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; this section has: {', '.join(known)}" if known else ""


def _sections_in(annotation: Any) -> list[Any]:
    if get_origin(annotation) is not None:
        return [found for part in get_args(annotation) for found in _sections_in(part)]
    return [annotation] if isinstance(annotation, type) and issubclass(annotation, Section) else []
