"""The YAML config: its schema, reading and writing one, and those that lungseg brings along."""
