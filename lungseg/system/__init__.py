"""The machine: console, files, tables, threads, versions."""
