"""Training a network, and exporting it."""
