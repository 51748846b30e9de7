"""`lungseg models` on the command line."""

from dataclasses import asdict

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, shell
from lungseg.cli.options import Debug, Json, Quiet, Verbose
from lungseg.system import console


@app.command(
    short_help="Show the shipped network's card, and the runs at hand.",
    epilog="Example: lungseg models",
)
def models(
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """List the networks that infer can use, and show the model card of the shipped one.

    The card says what the network was trained on, under which terms, how well it does, where it
    fails, and what it is for. The runs are those in the folder runs/.
    """
    with shell(quiet, verbose, debug, json):
        from lungseg.config.schema import Config
        from lungseg.verbs.models import card, models

        networks, text = models(Config().train.run.parent), card()
        if json:
            console.emit_json({"networks": [asdict(each) for each in networks], "card": text})
            return
        rows = [
            [n.run, n.network, ", ".join(n.classes), f"{n.onnx_mb:.1f}", n.model_sha256[:12]]
            for n in networks
        ]
        columns = ["--run", "network", "classes", "ONNX, MB", "model_sha256"]
        console.emit_table("networks", columns, rows)
        console.emit_markdown(text)
