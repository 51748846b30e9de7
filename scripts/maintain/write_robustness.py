"""Write docs/robustness.md from robustness.json beside this script, which `make soak` fills.

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
from scripts.maintain.describe_mutants import section
from tests.bad_inputs.corpus import KINDS

FIGURES = Path(__file__).with_name("robustness.json")
PAGE = Path(__file__).parents[2] / "docs" / "robustness.md"
TEMPLATE = """\
# Robustness

This page lists what was tried to break `lungseg`, and what happened. `make soak` runs all of it
and writes this page. `make test-all` runs the same with fewer kills and fewer slices.
Last run: {{ date }}, {{ hardware.cores }} cores of {{ hardware.processor }}.

## Faults

The commands were killed (`kill -9`) at {{ kills.values() | map(attribute="tried") | sum }} random
moments and run again. Each time the output equalled that of an undisturbed run, byte for byte,
apart from times and dates.

| command | kills | kills while it was writing |
|---|---|---|
{% for verb, row in kills.items() -%}
| {{ verb }} | {{ row.tried }} | {{ row.landed }} |
{% endfor %}
The same holds after a full disk (files limited to 100 bytes), in folders without write permission,
and after SIGTERM in the middle of a checkpoint. Inputs that disappear during a run are listed, and
the others are processed. If a run folder is in use, a second process is refused; its message gives
the number of the first process.

## Load

| command | slices | peak memory, MiB |
|---|---|---|
{% for verb, row in load.items() -%}
{% for count in row.slices -%}
| {{ verb }} | {{ "{:,}".format(count) }} | {{ row.mib[loop.index0] }} |
{% endfor -%}
{% endfor %}
Recording an epoch takes {{ epochs.first_ms }} ms of processor time at the start of a training and
{{ epochs.last_ms }} ms after a thousand epochs.

## Fuzzing

`make fuzz` uses atheris (libFuzzer). Each execution ended in a result or in an error of the kind
that `lungseg` reports.

| reader | executions | seconds |
|---|---|---|
{% for name, row in fuzz.items() -%}
| {{ name }} | {{ "{:,}".format(row.executions) }} | {{ row.seconds }} |
{% endfor %}
## Changed lines

{{ mutants }}

## Known limits

- Lengths inside the sequences of a DICOM file are not checked before GDCM reads it. A hostile file
  can make GDCM request up to 4 GB of memory there.
- MetaImage and NRRD files are read by ITK's own readers, which are not fuzzed.

## Bad inputs

`tests/bad_inputs/` makes {{ kinds | length }} kinds of bad input. Each is given to a command in a
separate process. None led to a traceback, a hang or a half-written file. The most memory that any
of them needed is {{ bad.values() | map(attribute="mib") | max }} MiB. If the exit code is not 0,
the message names the file. [Reference](reference.md#exit-codes) lists the exit codes.

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
    return template.render(**figures, date=date, kinds=kinds, hardware=hardware, mutants=section())


if __name__ == "__main__":
    write_text(PAGE, page(read_json(FIGURES), datetime.date.today().isoformat()))
