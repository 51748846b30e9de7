"""Train a network and export it. Only it and `lungseg.models` import TensorFlow."""
