"""Write docs/robustness.md from docs/robustness.json, which `make soak` fills.

Example:
    python -m scripts.maintain.write_robustness
"""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from lungseg.system.environment import describe_hardware
from lungseg.system.files import write_text
from lungseg.system.tables import read_json
from tests.bad_inputs.corpus import KINDS

DOCS = Path(__file__).parents[2] / "docs"
TEMPLATE = """\
# Robustness

What was done to `lungseg` to break it. `make soak` does all of it and writes this page;
`make test-all` does the same with fewer kills and slices.
{{ date }}, {{ hardware.cores }} cores of {{ hardware.processor }}.

## Faults

Killed (`kill -9`) at {{ kills.values() | map(attribute="tried") | sum }} random moments
and run again, every command left the output of an undisturbed run, byte for byte but for what holds
times and dates:

| command | kills | of them while it was writing |
|---|---|---|
{% for verb, row in kills.items() -%}
| {{ verb }} | {{ row.tried }} | {{ row.landed }} |
{% endfor %}
The same holds after a full disk (files limited to 100 bytes), in folders that may not be written,
and after SIGTERM in the middle of a checkpoint. Inputs that vanish on the way are listed, and the
others done. A second process on one run folder is refused and told the first one's number.

## Load

| command | slices | peak memory, MiB |
|---|---|---|
{% for verb, row in load.items() -%}
{% for count in row.slices -%}
| {{ verb }} | {{ "{:,}".format(count) }} | {{ row.mib[loop.index0] }} |
{% endfor -%}
{% endfor %}
Recording an epoch takes {{ epochs.first_ms }} ms of processor time at first and
{{ epochs.last_ms }} ms after a thousand.

## Fuzzing

`make fuzz`: atheris (libFuzzer). Each execution ended in a result or in one of our errors.

| reader | executions | seconds |
|---|---|---|
{% for name, row in fuzz.items() -%}
| {{ name }} | {{ "{:,}".format(row.executions) }} | {{ row.seconds }} |
{% endfor %}
## Known limits

- Lengths within the sequences of a DICOM file are not checked before GDCM reads it: a file made
  to do harm can still ask for up to 4 GB there.
- MetaImage and NRRD readers are ITK's own and are not fuzzed.

## Bad inputs

{{ kinds | length }} kinds, made by `tests/bad_inputs/make_bad_inputs.py`, each met by a command
in a process of its own: never a traceback, a hang, a half-written file, or more than
{{ bad.values() | map(attribute="mib") | max }} MiB of memory. Exit codes: 0 done, 2 wrong command
or config, 3 unusable data, 4 some cases failed; the message names the file.

| input | exit code | memory, MiB |
|---|---|---|
{% for kind in kinds -%}
| {{ kind.what }} | {{ kind.exit_code }} | {{ bad.get(kind.name, {}).get("mib", "-") }} |
{% endfor -%}
"""


def page(figures: dict[str, Any], date: str) -> str:
    """Return the page as Markdown."""
    template = Environment(undefined=StrictUndefined).from_string(TEMPLATE)  # Markdown, no HTML
    kinds, hardware = list(KINDS.values()), describe_hardware()
    return template.render(**figures, date=date, kinds=kinds, hardware=hardware)


if __name__ == "__main__":
    known = read_json(DOCS / "robustness.json")
    write_text(DOCS / "robustness.md", page(known, datetime.date.today().isoformat()))
