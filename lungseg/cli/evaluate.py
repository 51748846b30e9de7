"""`lungseg evaluate` on the command line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

# No `from __future__ import annotations`: Typer reads the annotations at run time.
from lungseg.cli.app import app, read_config, shell
from lungseg.cli.options import (
    ConfigFile,
    Debug,
    EvaluationOutput,
    Json,
    Overwrite,
    Quiet,
    RunFolder,
    ScoredData,
    Seed,
    Settings,
    Verbose,
)
from lungseg.errors import ExitCode, UsageError
from lungseg.system import console
from lungseg.system.wording import counted


@app.command(
    short_help="Score a run, or any folder of masks.",
    epilog="Example: lungseg evaluate --run runs/lung --data data/dataset\n\n"
    "Or: lungseg evaluate --pred masks --truth lungs -o scores",
)
def evaluate(
    config: ConfigFile = None,
    run: RunFolder = None,
    data: ScoredData = None,
    part: Annotated[str | None, typer.Option(help="Part to score: train, valid or test.")] = None,
    pred: Annotated[
        Path | None, typer.Option("--pred", help="Folder of predicted masks, from any tool.")
    ] = None,
    truth: Annotated[Path | None, typer.Option("--truth", help="Folder of true masks.")] = None,
    images: Annotated[
        Path | None, typer.Option("--images", help="With --pred: folder of the images, to draw.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Folder of another evaluation, to compare with."),
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

    Without --run, the shipped network is scored, or train.run if the config or -s sets it.
    Without --data, a run is scored on the data set that its config.yaml names; without --config,
    by that config. The report of the run's test part goes to the run folder, any other to a folder
    in it. --data also takes a test/ alone, what prepare wrote, or a folder of images/ and masks/.
    The main score is lung Dice. Trivial baselines stand beside every score. A true mask without a
    prediction scores as if the prediction were empty. Writes report.html, evaluation.csv,
    evaluation.json and per_case.csv. Needs no TensorFlow.
    With --pred and --truth, masks are paired by name: PNG, TIF, NIfTI, MHA, NRRD, DICOM-SEG. A true
    mask may also be an RTSTRUCT.
    """
    with shell(quiet, verbose, debug, json):
        if (pred is None) != (truth is None):
            raise UsageError("--pred and --truth need each other: give both.")
        if pred is not None and (run is not None or data is not None or part is not None):
            raise UsageError("--pred and --truth exclude --run, --data and --part.")
        if pred is None and images is not None:
            raise UsageError("--images can be used only with --pred and --truth.")
        parts = [f"evaluate.part={part}"] if part else []
        settings = [*(settings or []), *parts]
        cfg = read_config(config, settings, seed)
        from lungseg.evaluation.sources import choose_dataset, is_of_run, stored_config
        from lungseg.system.files import existing_folder
        from lungseg.system.shipped import choose_run
        from lungseg.verbs.evaluate import evaluate, evaluate_folders

        if pred is None or truth is None:
            network = choose_run(cfg, run)
            stored = stored_config(network) if config is None else None
            if stored is not None:
                # The names of patients in other data do not follow the rules of the run's own.
                elsewhere = data is not None and not is_of_run(data, network)
                forget = ["split.group_regex=null", "split.group_csv=null"] if elsewhere else []
                cfg = read_config(stored, [*forget, *settings], seed)
            data = choose_dataset(network, cfg, data)
            result = evaluate(cfg, network, data, output, overwrite=overwrite, against=against)
        else:
            result = evaluate_folders(
                cfg,
                existing_folder(pred, "predicted masks", "--pred"),
                existing_folder(truth, "true masks", "--truth"),
                output or Path("evaluation"),
                images=images,
                overwrite=overwrite,
                against=against,
            )
        show(result.summary)
        console.note(
            f"written to {result.output}: report.html (open it), evaluation.json, "
            "evaluation.csv, per_case.csv"
        )
        if json:
            console.emit_json(result.summary)
        if result.failed:
            raise typer.Exit(ExitCode.SOME_FAILED)


def show(summary: Mapping[str, Any]) -> None:
    """Print the tables of an evaluation: one column for the network and one per baseline.

    Lung classes that are scored as one have a table of their own.
    """
    overall = summary["overall"]
    unit = summary["distance_unit"]
    group_is = summary["group_is"]
    every = {"model": overall, **summary["baselines"]}
    for class_name in [*summary["classes"], *([summary["joined"]] if summary["joined"] else [])]:
        methods = {name: values for name, values in every.items() if class_name in values}
        rows = []
        for label, metric, key in (
            ("Dice, mean", "dice", "mean"),
            ("  95% interval", "dice", "ci95"),
            ("  median", "dice", "median"),
            ("  5th percentile", "dice", "p5"),
            ("IoU, mean", "iou", "mean"),
            ("precision, mean", "precision", "mean"),
            ("recall, mean", "recall", "mean"),
            ("specificity, mean", "specificity", "mean"),
            (f"HD95, mean, {unit}", "hd95", "mean"),
            (f"ASSD, mean, {unit}", "assd", "mean"),
            ("boundary IoU, mean", "boundary_iou", "mean"),
        ):
            values = [method[class_name][metric][key] for method in methods.values()]
            rows.append([label, *(_format(value) for value in values)])
        if class_name in summary["classes"]:
            accuracy = [method.get("pixel_accuracy", {}).get("mean") for method in methods.values()]
            rows.append(["pixel accuracy", *map(_format, accuracy)])
        part = summary.get("part", summary.get("predictions", ""))
        title = f"{part}: {summary['cases']} cases, {counted(summary['patients'], group_is)}"
        console.table(title, [class_name, *methods], rows)
    verdict = summary["verdict"]
    (console.warn if verdict["standing"] == "below" else console.note)(verdict["sentence"])
    if group_is:
        console.note(group_is)
    worst = overall[summary["classes"][0]]["dice"]["worst"]
    console.note("worst: " + ", ".join(f"{case} {value:.4f}" for case, value in worst))
    if "categorical_crossentropy" in overall:
        console.note(
            f"loss (categorical_crossentropy) {overall['categorical_crossentropy']['mean']:.4f}, "
            f"dice_coef_multiclass {overall['dice_coef_multiclass']['mean']:.4f} "
            "(all classes, soft: near pixel accuracy)"
        )
    for class_name in summary["classes"] if "against" in summary else ():
        difference = summary["against"][class_name]["dice"]
        p, interval = difference["wilcoxon"]["p"], difference["ci95"]
        said = f"95% interval {_format(interval)}" if interval else "no 95% interval"
        console.note(
            f"against {summary['against']['other']}: {class_name} Dice differs by "
            f"{difference['mean_difference']:+.4f} ({said}), Wilcoxon "
            f"p {'-' if p is None else format(p, '.3g')} over "
            f"{counted(difference['patients'], group_is)}"
        )
    if "against" in summary and summary["against"]["no_interval"]:
        console.note(f"no 95% interval of the difference: {summary['against']['no_interval']}")


def _format(value: float | Sequence[float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else " to ".join(f"{v:.4f}" for v in value)
