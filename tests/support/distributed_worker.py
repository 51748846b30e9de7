"""Trains as one of several workers, or on several devices; run by test_distribution.py.

Arguments: data set, run folder, strategy, number of logical CPU devices.
"""

import sys
from pathlib import Path


def main() -> None:
    dataset, run, strategy, devices = Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:5]
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(
        cpu, [tf.config.LogicalDeviceConfiguration()] * int(devices)
    )
    from lungseg.config.loading import check_config
    from lungseg.verbs.train import train
    from tests.support.phantoms import tiny

    given = tiny(strategy=strategy)
    given["model"]["dropout_rate"] = 0.0  # each replica would draw its own
    config = check_config(given, "test")
    train(config, dataset, run)


if __name__ == "__main__":
    main()
