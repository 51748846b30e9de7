"""What the program does: prepare, split, train, evaluate, infer, inspect, export."""
