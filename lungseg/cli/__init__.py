"""The command line: a module for each command, which parses its arguments and shows its result."""

from lungseg.cli.app import main

__all__ = ["main"]
