"""The command line: a module for each command, which parses its arguments and shows its result."""

from lungseg.cli.app import app, main

# isort: split
# Imported for the commands they register, in the order in which the help lists them.
# isort: off
from lungseg.cli import prepare, split, train, evaluate, infer, inspect, export  # noqa: F401
from lungseg.cli import config, phantom, label, convert, models  # noqa: F401
# isort: on

__all__ = ["app", "main"]
