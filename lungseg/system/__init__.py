"""The machine: console, files, tables, locks, threads, versions."""
