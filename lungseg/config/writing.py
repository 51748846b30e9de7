"""Writing a config with a comment on each key, and the JSON schema, both from the schema."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

import yaml
from pydantic import BaseModel

from lungseg.config.checking import EXTENDS
from lungseg.config.loading import check_config, set_key
from lungseg.config.presets import PRESETS, Noted, Preset
from lungseg.config.schema import Config
from lungseg.errors import UsageError

SCHEMA_FILE = "lungseg.schema.json"

# An editor looks for the schema beside the config.
MODELINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"

PATHS = "Paths:        relative to the folder in which lungseg runs, not to this file.\n"

LINE, COMMENT_COLUMN = 100, 31


def preset_config(name: str) -> str:
    """Return a preset as YAML with a comment on each key.

    Raises:
        UsageError: if there is no preset of this name.
    """
    if name not in PRESETS:
        close = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise UsageError(
            f"There is no config {name!r} to print; there are {', '.join(PRESETS)}.{hint}"
        )
    preset = PRESETS[name]
    data, comments = _values(preset)
    config = check_config(data, name)
    head = textwrap.indent(preset.head + PATHS, "# ", lambda _: True).replace("# \n", "#\n")
    lines = [MODELINE, head.rstrip("\n")]
    for key, value in data.items():
        lines += ["", *_lines(key, value, config, comments, key, 0)]
    return "\n".join(lines) + "\n"


def json_schema() -> str:
    """Return the JSON schema of a config, as text; editors check and complete a config with it."""
    schema = Config.model_json_schema()
    # An editor shows the description; the examples below it are for readers of the Python API.
    schema["description"] = schema["description"].split("\n\n")[0]
    schema["properties"] = {
        EXTENDS: {
            "description": "another config, relative to this file, whose values hold for the keys "
            "that this file leaves out",
            "type": "string",
        },
        **schema["properties"],
    }
    return json.dumps(schema, indent=2) + "\n"


def _values(preset: Preset) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of a preset, nested by section, and its own comments by dotted key."""
    if preset.keys is None:
        return Config().model_dump(mode="json"), {}
    data: dict[str, Any] = {}
    comments = {}
    for key, value in preset.keys.items():
        if isinstance(value, Noted):
            comments[key], value = value.comment, value.value
        set_key(data, key.split("."), value)
    return data, comments


def _lines(
    key: str, value: Any, section: Any, comments: Mapping[str, str], path: str, depth: int
) -> Iterator[str]:
    """Yield the lines of a key, and of the keys below it.

    Args:
        key: the key, without those above it.
        value: its value, as plain data.
        section: the checked section that holds the key; a dictionary for the classes of `rgb_map`.
        comments: comments that take the place of the schema's, by dotted key.
        path: the dotted key.
        depth: how many sections are above it.
    """
    if isinstance(section, BaseModel):
        comment = type(section).model_fields[key].description or ""
        inner = getattr(section, key)
    else:
        comment, inner = f"class {list(section).index(key)}", None
    comment = comments.get(path, comment)
    indent = "  " * depth
    if isinstance(value, dict) and (depth == 0 or _is_nested(value)):
        yield from _commented(f"{indent}{key}:", comment)
        for name, below in value.items():
            yield from _lines(name, below, inner, comments, f"{path}.{name}", depth + 1)
    else:
        yield from _commented(f"{indent}{key}: {_flow(value)}", comment)


def _is_nested(value: Mapping[str, Any]) -> bool:
    return any(isinstance(below, (dict, list)) for below in value.values())


def _commented(text: str, comment: str) -> list[str]:
    """Return a line with its comment; a long comment goes on in the lines below it."""
    return textwrap.wrap(
        comment,
        LINE,
        initial_indent=f"{text:<{COMMENT_COLUMN}}  # ",
        subsequent_indent=" " * COMMENT_COLUMN + "  # ",
        break_long_words=False,
        break_on_hyphens=False,
    )


class _Dumper(yaml.SafeDumper):
    """YAML with numbers as a person writes them: 0.00007, and 12 for 12.0."""


def _represent_float(dumper: yaml.SafeDumper, number: float) -> yaml.ScalarNode:
    text = format(Decimal(repr(number)), "f").removesuffix(".0")
    tag = "tag:yaml.org,2002:float" if "." in text else "tag:yaml.org,2002:int"
    return dumper.represent_scalar(tag, text)


_Dumper.add_representer(float, _represent_float)


def _flow(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.dump([value], Dumper=_Dumper, default_flow_style=True, sort_keys=False, width=10**6)
    return text.strip()[1:-1]
