"""What the config says of the optimizer is what the network is compiled with."""

import pytest

from lungseg.config.loading import check_config
from lungseg.training.compiling import compile_model
from tests.support.phantoms import tiny


@pytest.mark.parametrize(
    ("name", "optimizer_class"), [("adam", "AveragingAdam"), ("adamw", "AveragingAdamW")]
)
def test_the_average_covers_the_share_of_the_config(name: str, optimizer_class: str) -> None:
    config = check_config(tiny(optimizer=name, weight_average=0.125), "test")
    optimizer = compile_model(config, steps=1).optimizer
    assert type(optimizer).__name__ == optimizer_class
    # The last eighth of the steps: `ema_momentum` is the share that is left out.
    assert (optimizer.use_ema, optimizer.ema_momentum) == (True, 0.875)
    without = check_config(tiny(optimizer=name, weight_average=0), "test")
    assert not compile_model(without, steps=1).optimizer.use_ema
