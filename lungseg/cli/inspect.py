"""`lungseg inspect` on the command line."""

from dataclasses import asdict

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, read_config, shell
from lungseg.cli.options import ConfigFile, Debug, Json, Quiet, Settings, Verbose
from lungseg.system import console


@app.command(
    short_help="Show a network's layers and size.",
    epilog="Example: lungseg inspect -s model.name=unet3plus",
)
def inspect(
    config: ConfigFile = None,
    settings: Settings = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show the network of a config: its layers, parameters and GFLOP per slice."""
    with shell(quiet, verbose, debug, json):
        cfg = read_config(config, settings, None)
        from lungseg.training.backend import import_tensorflow
        from lungseg.verbs.inspect import inspect

        import_tensorflow()
        network = inspect(cfg)
        rows = [
            [r.name, r.kind, " x ".join(map(str, r.shape)), f"{r.parameters:,}", f"{r.gflop:.3f}"]
            for r in network.layers
        ]
        total = f"{network.parameters:,} parameters, {network.gflop:.1f} GFLOP per slice"
        if json:
            console.emit_json(asdict(network))
        else:
            columns = ["layer", "type", "output", "parameters", "GFLOP"]
            console.emit_table(network.name, columns, rows)
            console.emit_text(f"{network.name}: {total}")
