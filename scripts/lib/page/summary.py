"""The summary of a study, as all its pages: what was found, how sure that is, what was run."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd

from lib.analysis.metrics import values_of
from lib.analysis.results import read_baselines, read_trained, settings_of_variants
from lib.command.formats import class_names, counted, joined, plural
from lib.command.markup import escape
from lib.files.tables import read_table
from lib.files.whole import read_json, write_text
from lib.page import html, markdown
from lib.page.answer import answer
from lib.page.latex import papers
from lib.page.sections import Page, sections
from lib.study.catalog import PARTS, tables_to_read
from lib.study.runs import keys_in
from lib.study.schema import word

TOLD = ("unknown_share", "warning")  # what it needs of tokens.json


def summarise(
    study: str,
    tables: Sequence[Path],
    figures: Sequence[Path],
    runs: Sequence[Path],
    baselines: Sequence[Path],
    reviews: Path,
    splits: Path,
    tokens: Sequence[Path],
    metric: str,
    noun: str,
    out: Path,
) -> None:
    """Write summary.md, and in pages/ and tables/ what is made of the same.

    Args:
        study: its name.
        tables: of the study.
        figures: to show.
        runs: folders of the runs.
        baselines: folders of the baselines.
        reviews: reviews.json of the dataset.
        splits: splits.json of the dataset.
        tokens: tokens.json of each model, in folders that name it.
        metric: of the study.
        noun: what the dataset calls its texts.
        out: folder to write to.
    """
    data = read_json(reviews, "source", "labels", "classes", "dropped")
    division = read_json(splits, "train", "valid", "test")
    counts = {keys_in(path)["model"]: read_json(path, *TOLD) for path in tokens}
    trainings = [read_trained(run) for run in runs]
    classes = division["test"]["classes"]
    labels = np.repeat(range(len(classes)), classes)
    constant = np.full_like(labels, np.argmax(classes))
    page = Page(
        tables={path.stem: read_table(path) for path in tables},
        figures={path.stem: os.path.relpath(path, out) for path in figures},
        folder=os.path.relpath(tables[0].parent, out),
        runs=runs,
        baselines=read_baselines(baselines),
        names=class_names(data),
        metric=metric,
        noun=noun,
        majority=values_of(labels, constant, metric).mean(),
    )
    told = "There are no verdicts: analysis.statistics is false."
    if "findings" in page.tables:
        told = escape(answer(page.tables["findings"], metric, noun))
    paragraphs = [
        f"# Study: {study}",
        told,
        opening(trainings, division, noun, page.chosen_by(), page.tables["runs"]["tested"].all()),
        *warnings(counts),
        *sections(page),
        "## What was run",
        markdown.facts(
            data_facts(data, division, noun)
            | run_facts(page.tables["runs"], trainings, counts, noun)
        ),
    ]
    text = "\n\n".join(paragraphs) + "\n"
    write_text(out / "summary.md", text)
    write_text(out / "pages" / "summary.html", html.page(text, out, up=".."))
    write_text(out / "pages" / "answer.html", html.render(first_page(page, told), out))
    for part in PARTS:
        shown = {name: page.tables[name] for name in tables_to_read(part) if name in page.tables}
        if shown:
            write_text(out / "pages" / f"{part}.html", html.sortable_tables(shown, page.names))
    for name, text in papers(page.tables, page.baselines, metric, noun).items():
        write_text(tables[0].parent / f"{name}.tex", text)


def first_page(page: Page, told: str) -> str:
    """What the report shows first: the answer, and the verdicts as a picture."""
    compared = "findings" in page.tables and page.tables["findings"]["first"].notna().any()
    return f"{told}\n\n{page.picture('findings')}" if compared else told


def opening(
    trainings: Sequence[Mapping[str, Any]],
    splits: Mapping[str, Any],
    noun: str,
    chosen_by: str,
    all_tested: bool,
) -> str:
    """What the study is, which says plainly what it can't show."""
    tested = "Each run" if all_tested else "Each run at a learning rate that is chosen or compared"
    text = (
        f"{plural(len(trainings), 'run')} on {escape(trainings[0]['dataset'])}: "
        f"{splits['train']['reviews']:,} training, {splits['valid']['reviews']:,} validation and "
        f"{splits['test']['reviews']:,} test {noun}. {tested} is tested once, at its best "
        f"epoch by validation {chosen_by}."
    )
    sources = {run["model"]: run["encoder"]["source"] for run in trainings}
    scratch = [model for model, source in sources.items() if source == "scratch"]
    others = [model for model in sources if model not in scratch]
    if not scratch:
        return text
    text += f"\n\n**{escape(joined(scratch))} started from random weights.** "
    if others:
        return text + (
            f"A difference between {'it' if len(scratch) == 1 else 'these'} and "
            f"{escape(joined(others))} may be one of pretraining too."
        )
    return text + "The study shows the workflow, not what pretraining buys."


def warnings(counts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A paragraph for each model whose tokenizer does not know the texts well."""
    told = {model: found["warning"] for model, found in counts.items() if found["warning"]}
    return [f"**{escape(model)}: {escape(warning)}.**" for model, warning in told.items()]


def data_facts(reviews: Mapping[str, Any], splits: Mapping[str, Any], noun: str) -> dict[str, str]:
    """Where the texts come from and how they were divided, by the name of each fact."""
    classes = zip(class_names(reviews), reviews["classes"], strict=True)
    return {
        "Data": " ".join([reviews["source"], reviews["revision"]]).strip(),
        "SHA-256": listed(reviews["sha256"].items()),
        "Rows read": f"{reviews['rows']:,}",
        "Rows dropped": ", ".join(
            f"{count:,} {reason.replace('_', ' ')}" for reason, count in reviews["dropped"].items()
        ),
        noun.capitalize(): f"{reviews['reviews']:,}, per class "
        + ", ".join(f"{name} {count:,}" for name, count in classes),
        "Splits": division_fact(reviews, splits, noun),
    }


def division_fact(reviews: Mapping[str, Any], splits: Mapping[str, Any], noun: str) -> str:
    """How the texts were divided: given or drawn, by what, and what whole groups missed."""
    parts = {name: splits[name] for name in ("train", "valid", "test")}
    drawn = f"stratified, seed {splits['seed']}"
    missed = [part["missed"] for part in parts.values() if "missed" in part]
    if missed:
        size = counted(max(abs(each["reviews"]) for each in missed), noun)
        share = 100 * max(each["class_share"] for each in missed)
        drawn = (
            f"by whole groups, seed {splits['seed']}, missing sizes by {size} at most and class "
            f"shares by {share:.2g} points at most"
        )
    how = [drawn]
    if given := splits.get("given"):
        is_sample = sum(part["reviews"] for part in parts.values()) < reviews["reviews"]
        how = [f"{joined(given)} given by the dataset" + ", sampled to these sizes" * is_sample]
        if "valid" not in given:
            how.append(f"valid drawn from train, {drawn}")
        elif is_sample:
            how.append(drawn)
    if "groups" in splits["train"]:
        group = escape(str(reviews["settings"]["group"]))
        groups = (f"{name} {part['groups']:,}" for name, part in parts.items())
        how.append(f"groups of {group}: {', '.join(groups)}")
    sizes = ", ".join(f"{name} {part['reviews']:,}" for name, part in parts.items())
    return "; ".join([sizes, *how])


def run_facts(
    runs: pd.DataFrame,
    trainings: Sequence[Mapping[str, Any]],
    counts: Mapping[str, Mapping[str, Any]],
    noun: str,
) -> dict[str, str]:
    """How the runs were trained, as they tell themselves, by the name of each fact."""
    models = {run["model"]: run for run in trainings}
    variants = settings_of_variants(runs)
    first = next(iter(variants.values()))
    shared = {
        key: value
        for key, value in first.items()
        if all(settings[key] == value for settings in variants.values())
    }
    return {
        **{f"Seen by {name}": cut_facts(trainings, name, noun) for name in models},
        **{f"Model {name}": model_facts(run, counts[name]) for name, run in models.items()},
        "Training": listed(shared.items()),
        **{
            f"Variant {name}": listed(settings.items() - shared.items())
            for name, settings in variants.items()
        },
        "Seeds": listed_once(trainings, "seed"),
        "Hardware": "; ".join(sorted({hardware(run) for run in trainings})),
        "CPU threads per run": listed_once(trainings, "threads"),
        "Versions": ", ".join(sorted({each for run in trainings for each in versions(run)})),
        "Workflow": listed_once(trainings, "workflow"),
    }


def model_facts(run: Mapping[str, Any], counts: Mapping[str, Any]) -> str:
    """Where the encoder of a run comes from, its size, and what it knows of the texts."""
    encoder = dict(run["encoder"])
    source, digests = encoder.pop("source"), encoder.pop("sha256")
    weights = {file: x for file, x in digests.items() if file.endswith(".safetensors")}
    facts = [source, listed(encoder.items()), listed(weights.items())]
    return (
        f"{', '.join(filter(None, facts))}; {run['parameters'] / 1e6:.1f} million parameters; "
        f"{counts['unknown_share']:.1%} of the tokens unknown"
    )


def cut_facts(trainings: Sequence[Mapping[str, Any]], model: str, noun: str) -> str:
    """What a model sees of the texts, in each of its settings that differ in that."""
    runs: dict[tuple[int, str], list[Mapping[str, Any]]] = defaultdict(list)
    for run in (run for run in trainings if run["model"] == model):
        runs[run["settings"]["max_length"], run["truncation"]].append(run)
    facts = []
    for (length, truncation), alike in runs.items():
        cut, lost = (fmean(run[key] for run in alike) for key in ("texts_cut", "tokens_lost"))
        names = joined(list(dict.fromkeys(run["variant"] for run in alike)))
        facts.append(
            f"{length:,} tokens at most, {truncation}"
            + (f" ({names})" if len(runs) > 1 else "")
            + f": {cut:.1%} cut, {lost:.1%} of their tokens lost"
        )
    return f"of the training {noun}, " + "; ".join(facts)


def hardware(run: Mapping[str, Any]) -> str:
    """Where a run was computed, and how."""
    return f"{run['hardware']} ({run['device']}, {run['precision']})"


def versions(run: Mapping[str, Any]) -> list[str]:
    """The versions of the libraries that a run used."""
    return [f"{name} {number}" for name, number in run["versions"].items()]


def listed(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names and values as `epochs 5, optimizer adam`, in the order of the names."""
    return ", ".join(f"{name} {word(value)}" for name, value in sorted(pairs))


def listed_once(trainings: Sequence[Mapping[str, Any]], key: str) -> str:
    """The values that runs have of a key."""
    return ", ".join(map(str, sorted({run[key] for run in trainings})))
