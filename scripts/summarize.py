"""Write the summary of a study in Markdown: findings, tables, figures, and what was run."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lib.cli import Parser, mapping, read_json, replacing, run
from lib.flags import add_flags

if TYPE_CHECKING:
    import pandas as pd


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_flags(flags, "--baselines")
    flags.add_argument("--study", required=True, help="name of the study")
    flags.add_argument(
        "--tables", required=True, nargs="+", type=Path, help="tables of the study, runs.csv first"
    )
    flags.add_argument("--figures", nargs="*", default=[], type=Path, help="figures to show")
    flags.add_argument(
        "--trained", required=True, nargs="+", type=Path, help="train.json of all runs"
    )
    flags.add_argument("--reviews", required=True, type=Path, help="reviews.json of the dataset")
    flags.add_argument("--splits", required=True, type=Path, help="splits.json of the dataset")
    flags.add_argument("--max-length", required=True, type=int, help="tokens kept of each text")
    flags.add_argument(
        "--models",
        required=True,
        nargs="+",
        type=mapping,
        metavar="NAME=TEXT",
        help="where each encoder comes from",
    )
    flags.add_argument("--training", required=True, help="settings that the runs share")
    flags.add_argument(
        "--variants",
        required=True,
        nargs="+",
        type=mapping,
        metavar="NAME=TEXT",
        help="what each variant changes; may be nothing",
    )
    flags.add_argument("--out", required=True, type=Path, help="Markdown file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the page."""
    from lib import markdown, page, tables
    from lib.study import read_baselines, read_table

    beside = options.out.parent
    reviews, splits = read_json(options.reviews), read_json(options.splits)
    trained = [read_json(path) for path in options.trained]
    classes = splits["test"]["classes"]
    study = page.Page(
        tables={path.stem: read_table(path) for path in options.tables},
        figures={path.stem: os.path.relpath(path, beside) for path in options.figures},
        folder=os.path.relpath(options.tables[0].parent, beside),
        baselines=read_baselines(options.baselines),
        names=reviews["labels"] or list(map(str, range(len(classes)))),
        majority=tables.majority_share(classes),
    )
    runs = study.tables["runs"]
    paragraphs = [
        f"# Study: {options.study}",
        opening(runs, dict(options.models), splits),
        *page.sections(study),
        "## What was run",
        markdown.facts(study_facts(runs, reviews, splits, trained, options)),
    ]
    with replacing(options.out) as path:
        path.write_text("\n\n".join(paragraphs) + "\n", "utf-8")


def opening(runs: "pd.DataFrame", models: dict[str, str], splits: dict[str, Any]) -> str:
    """The first paragraph, which says plainly what the study can't show."""
    text = (
        f"{len(runs)} runs on {runs['dataset'].iloc[0]}: {splits['train']['reviews']:,} training, "
        f"{splits['valid']['reviews']:,} validation and {splits['test']['reviews']:,} test "
        "reviews. Each run is tested once, at its best epoch by validation accuracy."
    )
    scratch = [name for name, source in models.items() if source.startswith("scratch")]
    if scratch:
        text += (
            f"\n\n**{' and '.join(scratch)} started from random weights.** The study shows the "
            "workflow, not what pretraining buys."
        )
    return text


def study_facts(
    runs: "pd.DataFrame",
    reviews: dict[str, Any],
    splits: dict[str, Any],
    trained: list[dict[str, Any]],
    options: argparse.Namespace,
) -> dict[str, str]:
    """What was run, by the name of each fact."""
    dropped = reviews["dropped"]
    versions = {f"{key} {value}" for run in trained for key, value in run["versions"].items()}
    devices = {f"{run['hardware']} ({run['device']}, {run['precision']})" for run in trained}
    sizes = runs.groupby("model", sort=False)["parameters"].median()
    models = {
        f"Model {name}": f"{source}; {sizes[name] / 1e6:.1f} million parameters"
        for name, source in options.models
    }
    return {
        "Data": " ".join([reviews["source"], reviews["revision"]]).strip(),
        "SHA-256": ", ".join(f"{file} {digest}" for file, digest in reviews["sha256"].items()),
        "Rows read": f"{reviews['rows']:,}",
        "Rows dropped": ", ".join(
            f"{count:,} {reason.replace('_', ' ')}" for reason, count in dropped.items()
        ),
        "Reviews": f"{reviews['reviews']:,}, per class {class_sizes(reviews)}",
        "Splits": ", ".join(
            f"{name} {splits[name]['reviews']:,}" for name in ("train", "valid", "test")
        )
        + f"; stratified, seed {splits['seed']}",
        "Tokens per review": f"{options.max_length} at most",
        **models,
        "Training": options.training,
        **{f"Variant {name}": text for name, text in options.variants},
        "Hardware": "; ".join(sorted(devices)),
        "CPU threads per run": ", ".join(map(str, sorted({run["threads"] for run in trained}))),
        "Versions": ", ".join(sorted(versions)),
    }


def class_sizes(reviews: dict[str, Any]) -> str:
    """Number of reviews per class, by name where there are names."""
    names = reviews["labels"] or range(len(reviews["classes"]))
    pairs = zip(names, reviews["classes"], strict=True)
    return ", ".join(f"{name} {count:,}" for name, count in pairs)


if __name__ == "__main__":
    run(main, arguments())
