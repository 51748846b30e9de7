"""The command line: arguments in, one public function called, its result shown.

Nothing heavy is imported here; `lungseg --help` has to answer at once.
"""

# No `from __future__ import annotations`: Typer reads the annotations at run time.
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungseg import __version__, console
from lungseg.errors import ExitCode, LungsegError, UsageError

if TYPE_CHECKING:
    from lungseg.config import Config

app = typer.Typer(
    name="lungseg",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Plain help: drawing it with rich would double the time to the first line.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "-c", "--config", help="YAML config; without one the defaults of configs/lung.yaml."
    ),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "-s", "--set", metavar="KEY=VALUE", help="Override, e.g. train.epochs=3; repeatable."
    ),
]
Seed = Annotated[int | None, typer.Option(help="Override the config's seed.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an output that is not empty.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Say warnings and errors only.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and say what would be done.")]


ImagesFolder = Annotated[Path | None, typer.Option("--images", help="Folder of raw images.")]
MasksFolder = Annotated[
    Path | None, typer.Option("--masks", help="Folder of raw masks, paired by file name.")
]
PreparedOutput = Annotated[Path | None, typer.Option("-o", "--output", help="Folder to write.")]
PreparedFolder = Annotated[
    Path | None, typer.Option("--input", help="What prepare wrote, or a train|valid|test data set.")
]
DatasetOutput = Annotated[Path | None, typer.Option("-o", "--output", help="Data set to write.")]
DataFolder = Annotated[Path | None, typer.Option("--data", help="Data set, as split writes it.")]
NewRun = Annotated[Path | None, typer.Option("--run", help="Run folder to write.")]
ScoredRun = Annotated[Path | None, typer.Option("--run", help="Run folder to score.")]
EvaluationOutput = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Folder for the results; the run folder where absent."),
]
RunFolder = Annotated[Path | None, typer.Option("--run", help="Run folder with model.onnx.")]
ModelFile = Annotated[
    Path | None, typer.Option("--model", help="ONNX file, with its model.json beside it.")
]


@contextmanager
def _shell(quiet: bool, verbose: bool, debug: bool) -> Iterator[None]:
    """Turn errors into one paragraph and an exit code."""
    console.verbosity.quiet, console.verbosity.verbose = quiet, verbose
    try:
        yield
    except LungsegError as problem:
        if debug:
            _show_traceback()
        console.error(str(problem))
        raise typer.Exit(problem.exit_code) from None
    except KeyboardInterrupt:
        console.error("interrupted; what was finished is whole, and the same command goes on.")
        raise typer.Exit(ExitCode.INTERRUPTED) from None
    except (typer.Exit, typer.Abort, BrokenPipeError):
        raise
    except OSError as problem:
        # A full disk, a folder that may not be written, a file that went away meanwhile: no bug.
        if debug:
            _show_traceback()
        console.error(f"{problem.filename or 'the output'}: {problem.strerror or problem}.")
        raise typer.Exit(ExitCode.DATA) from None
    except Exception as problem:
        if debug:
            _show_traceback()
        console.error(
            f"this is a bug in lungseg {__version__}: {type(problem).__name__}: {problem}. "
            "Run the command again with --debug and report what it prints."
        )
        raise typer.Exit(ExitCode.BUG) from None


def _show_traceback() -> None:
    import traceback

    traceback.print_exc()


def _config(path: Path | None, settings: list[str] | None, seed: int | None) -> "Config":
    from lungseg.configfile import load_config

    overrides = list(settings or [])
    if seed is not None:
        overrides.append(f"seed={seed}")
    return load_config(path, overrides)


def _version(asked: bool) -> None:
    if asked:
        console.emit_text(f"lungseg {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Train, judge and run lung segmentation on chest CT.

    In order: prepare, split, train, evaluate, infer.
    Every command reads one YAML config and has an example in its --help.
    """


@app.command(
    short_help="Check and resize images and masks.",
    epilog="Example: lungseg prepare --images ct --masks lungs -o data/prepared",
)
def prepare(
    config: ConfigFile = None,
    images: ImagesFolder = None,
    masks: MasksFolder = None,
    output: PreparedOutput = None,
    settings: Settings = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Check and resize raw images and masks; write a manifest, a list of issues and a plot.

    Reads PNG, JPG, TIF and BMP, 8 or 16 bit or HU as signed or float TIFF.
    Exits with 4 if some cases could not be used; issues.csv names each.
    """
    with _shell(quiet, verbose, debug):
        cfg = _config(config, settings, seed)
        from lungseg.prepare import plan, prepare

        images, masks = images or cfg.data.images, masks or cfg.data.masks
        output = output or cfg.data.prepared
        if dry_run:
            pairs, issues = plan(images, masks)
            console.note(f"{len(pairs)} pairs would be prepared into {output}")
            for issue in issues:
                console.note(f"  {issue['file']}: {issue['code']}: {issue['detail']}")
            return
        result = prepare(cfg, images, masks, output, overwrite)
        console.note(f"{result.output}: {result.slices} slices, {result.copies} augmented copies")
        for code, number in result.count().items():
            first = next(row for row in result.issues if row["code"] == code)
            console.note(
                f"  {number} x {code} ({first['severity']}): {first['file']}: {first['detail']}"
            )
        if result.issues:
            console.note(f"  all of them: {result.output / 'issues.csv'}")
        if json:
            console.emit_json({**asdict(result), "failed": result.failed})
        if result.failed:
            console.warn(f"{result.failed} cases failed and are not in the data set")
            raise typer.Exit(ExitCode.SOME_FAILED)


@app.command(
    short_help="Share slices out by patient.",
    epilog="Example: lungseg split --input data/prepared -o data/dataset -s split.folds=5",
)
def split(
    config: ConfigFile = None,
    input: PreparedFolder = None,
    output: DatasetOutput = None,
    settings: Settings = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Share slices out among train, valid and test by patient, and look for leaks.

    Name the patients with split.group_regex or split.group_csv; else slices that look alike count
    as one patient's.
    """
    with _shell(quiet, verbose, debug):
        cfg = _config(config, settings, seed)
        from lungseg.split import show, split, summarise

        results = split(cfg, input or cfg.data.prepared, output or cfg.data.dataset, overwrite)
        for result in results:
            show(result)
        if json:
            console.emit_json([summarise(result) for result in results])


def _networks() -> str:
    """Return the table of networks for `train --help`, as scripts/bench_networks.py measured it."""
    import json

    # Read from the file: importing lungseg.models would take longer than the rest of --help.
    path = Path(__file__).parent / "models" / "measured.json"
    measured = json.loads(path.read_text(encoding="utf-8"))
    lines = [f"  {'model.name':15}{'parameters':>12}{'GFLOP':>8}{'train s':>9}{'infer s':>9}  Dice"]

    def said(row: dict[str, float], key: str) -> str:
        return f"{row[key]:.3f}" if key in row else "-"

    lines += [
        f"  {name:15}{row['parameters']:>12,}{row['gflop']:>8.1f}{said(row, 'train_s'):>9}"
        f"{said(row, 'infer_s'):>9}  {said(row, 'dice')}"
        for name, row in measured["networks"].items()
    ]
    about = f"a slice of 512 x 512 on {measured['hardware']['cores']} cores, {measured['date']};"
    # Without the mark the lines would be run together.
    return "\n".join(["\b", f"Networks ({about}", "Dice of one short run):", *lines])


@app.command(
    short_help="Train a network; stop it and go on.",
    epilog="Example: lungseg train -c configs/lung.yaml --run runs/lung -s train.epochs=30\n\n"
    + _networks(),
)
def train(
    config: ConfigFile = None,
    data: DataFolder = None,
    run: NewRun = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was stopped.")
    ] = False,
    fold: Annotated[
        str | None,
        typer.Option("--fold", metavar="K", help="Fold to train (split.folds), 1 to k, or all."),
    ] = None,
    settings: Settings = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network on the train part of a data set, watched on its valid part.

    The run folder gets the best model (model.keras, model.onnx), history, plots and all that is
    needed to repeat the run. Stop it with Ctrl-C and go on with --resume.
    """
    with _shell(quiet, verbose, debug):
        if resume and overwrite:
            raise UsageError("--resume and --overwrite exclude each other.")
        if resume and config is None and run is not None and (run / "config.yaml").exists():
            config = run / "config.yaml"
        cfg = _config(config, settings, seed)
        from lungseg.provenance import this_command
        from lungseg.train import jobs, train

        results = []
        for dataset, target in jobs(data or cfg.data.dataset, run or cfg.train.run, fold):
            if dry_run:
                from lungseg.layout import read_layout

                parts = read_layout(dataset, cfg)
                counts = ", ".join(f"{len(slices)} {part}" for part, slices in parts.items())
                console.note(f"{cfg.model.name} would be trained on {counts} slices into {target}")
                continue
            result = train(cfg, dataset, target, resume, overwrite, this_command())
            kept = f"best {result.monitor} {result.best:.4f} in epoch {result.best_epoch}"
            if result.monitor == "last":
                kept = "the last epoch's model is kept"
            console.note(
                f"{result.run}: {result.epochs} epochs in {result.seconds:.0f} s; {kept}; ONNX "
                f"differs from Keras by {result.onnx_difference:.1e}"
            )
            results.append(asdict(result))
        if json and results:
            console.emit_json(results if fold == "all" else results[0])


@app.command(
    short_help="Score a run, or any folder of masks.",
    epilog="Example: lungseg evaluate --run runs/lung --data data/dataset. "
    "Or: lungseg evaluate --pred masks --truth lungs -o scores",
)
def evaluate(
    config: ConfigFile = None,
    run: ScoredRun = None,
    data: DataFolder = None,
    part: Annotated[str | None, typer.Option(help="train, valid or test.")] = None,
    pred: Annotated[
        Path | None, typer.Option("--pred", help="Folder of predicted masks, from any tool.")
    ] = None,
    truth: Annotated[Path | None, typer.Option("--truth", help="Folder of true masks.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="With --pred: the images, for the pictures.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option("--against", help="Another evaluation's folder, to compare.")
    ] = None,
    output: EvaluationOutput = None,
    settings: Settings = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Score a run on its test part, or predicted masks against true ones.

    Lung Dice leads; trivial baselines stand beside every score; no case is dropped. Writes
    report.html, evaluation.csv, evaluation.json and per_case.csv. TensorFlow is not needed.
    With --pred and --truth, masks are paired by name: PNG, TIF, NIfTI, MHA, NRRD, DICOM-SEG.
    """
    with _shell(quiet, verbose, debug):
        if (pred is None) != (truth is None):
            raise UsageError("--pred and --truth go together.")
        if pred is not None and (run is not None or data is not None or part is not None):
            raise UsageError("--pred/--truth need no --run, --data or --part.")
        if pred is None and images is not None:
            raise UsageError("--images goes with --pred and --truth.")
        parts = [f"evaluate.part={part}"] if part else []
        cfg = _config(config, [*(settings or []), *parts], seed)
        from lungseg.evaluate import evaluate
        from lungseg.evaluation import show

        if pred is None:
            run, data = run or cfg.train.run, data or cfg.data.dataset
            result = evaluate(cfg, run, data, output, overwrite, against)
        else:
            from lungseg.evaluate_folders import evaluate_folders

            output = output or Path("evaluation")
            result = evaluate_folders(cfg, pred, truth, output, images, overwrite, against)
        show(result.summary)
        console.note(
            f"written to {result.output}: report.html (open it), evaluation.json, "
            "evaluation.csv, per_case.csv"
        )
        if json:
            console.emit_json(result.summary)
        if result.failed:
            raise typer.Exit(ExitCode.SOME_FAILED)


@app.command(
    short_help="Predict lung masks.",
    epilog="Example: lungseg infer --run runs/lung ct/ -o masks --overlay",
)
def infer(
    inputs: Annotated[
        list[Path],
        typer.Argument(help="Images, CT volumes, folders of them."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the masks.")],
    config: ConfigFile = None,
    run: RunFolder = None,
    model: ModelFile = None,
    overlay: Annotated[
        bool, typer.Option("--overlay", help="Also draw each mask's outline.")
    ] = False,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out what is done already.")
    ] = False,
    scheduler: Annotated[
        str | None,
        typer.Option("--scheduler", help="Dask scheduler to share the cases, tcp://host:8786."),
    ] = None,
    settings: Settings = None,
    seed: Seed = None,
    overwrite: Overwrite = False,
    dry_run: DryRun = False,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Predict lung masks in each input's own size and geometry.

    Reads PNG, JPG, TIF and BMP slices, and CT in HU: DICOM folders and zips, NIfTI, MHA, NRRD.
    Volumes are measured (mL, HU) in cases.csv, which also names what failed (exit code 4).
    """
    with _shell(quiet, verbose, debug):
        cfg = _config(
            config, [*(settings or []), *(["infer.overlay=true"] if overlay else [])], seed
        )
        from lungseg.infer import collect, infer

        if dry_run:
            console.note(f"{len(collect(inputs))} inputs would be segmented into {output}")
            return
        if run is None and model is None:
            run = cfg.train.run
        result = infer(cfg, inputs, output, run, model, overwrite, resume, scheduler)
        done = len(result.cases) - len(result.failed)
        console.note(f"{result.output}: {done} masks and cases.csv")
        if json:
            console.emit_json(asdict(result))
        if result.failed:
            console.warn(
                f"{len(result.failed)} of {len(result.cases)} inputs failed; see cases.csv"
            )
            raise typer.Exit(ExitCode.SOME_FAILED if done else ExitCode.DATA)


@app.command(
    short_help="Show a network's layers and size.",
    epilog="Example: lungseg inspect -c configs/original.yaml",
)
def inspect(
    config: ConfigFile = None,
    settings: Settings = None,
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Show the network of a config: its layers, parameters and GFLOP a slice."""
    with _shell(quiet, verbose, debug):
        cfg = _config(config, settings, None)
        from lungseg.execution import import_tensorflow
        from lungseg.inspect import inspect

        import_tensorflow()
        network = inspect(cfg)
        rows = [
            [r.name, r.kind, " x ".join(map(str, r.shape)), f"{r.parameters:,}", f"{r.gflop:.3f}"]
            for r in network.layers
        ]
        total = f"{network.parameters:,} parameters, {network.gflop:.1f} GFLOP a slice"
        if json:
            console.emit_json(asdict(network))
        else:
            console.table(network.name, ["layer", "type", "output", "parameters", "GFLOP"], rows)
            console.emit_text(f"{network.name}: {total}")


@app.command(
    short_help="Write the best model as ONNX, SavedModel or LiteRT.",
    epilog="Example: lungseg export --run runs/lung --format litert",
)
def export(
    run: Annotated[Path, typer.Option("--run", help="Run folder with model.keras.")],
    format: Annotated[str, typer.Option("--format", help="onnx, savedmodel or litert.")] = "onnx",
    json: Json = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a run's best model in another format, checked against Keras.

    onnx: model.onnx and model.json, which training writes too; savedmodel: the folder saved_model,
    for TensorFlow Serving; litert: model.tflite, for phones and small devices.
    """
    with _shell(quiet, verbose, debug):
        from lungseg.export import FILES
        from lungseg.train import export_run

        if format not in FILES:
            raise UsageError(f"--format {format}: there are {', '.join(FILES)}.")
        difference = export_run(run, format)
        path = run / FILES[format]
        console.note(f"{path}: differs from Keras by {difference:.1e} at most")
        if json:
            console.emit_json({format: path, "difference": difference})


def _interrupt(number: int, frame: object) -> None:
    raise KeyboardInterrupt


def main() -> None:
    """Run the program."""
    # A polite kill ends as Ctrl-C does: staged output is removed, state is kept.
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        app()
    except BrokenPipeError:
        # The reader of our output has gone; Python must not fail again as it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except SystemExit as end:
        if "tensorflow" in sys.modules:
            # TensorFlow's reading threads may wait for Python's lock, and the end of Python for
            # them: after an error in the middle of an epoch the process would hang.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(end.code if isinstance(end.code, int) else int(end.code is not None))
        raise
