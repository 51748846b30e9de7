"""From a trained network to masks."""
