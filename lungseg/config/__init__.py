"""The schema of a YAML config, and reading one."""
