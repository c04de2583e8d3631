"""The parts of the analysis: which are on, and the tables and figures that each makes."""

TABLES = "results/tables"
FIGURES = "results/figures"
BASELINE = "results/baselines/dataset={dataset}/text={text}"
ANALYSIS = config["analysis"]
PUBLISHED = ANALYSIS.get("published", [])
MODELS = list(dict.fromkeys(run.model for run in RUNS))

MEASURED_TABLES = ["measures", "settings", "reliability", "classes", "confusion"]
COMPARED_TABLES = ["comparisons", "comparisons_over_seeds"]
FORM_TABLES = ["form_accuracy", "form_best_epoch", "form_batch", "form_loss"]
ERROR_TABLES = ["confident_errors", "shared_errors", "disagreements"]

# part of the analysis -> its tables; a figure is drawn from one of them
PART_TABLES = {
    "results": ["runs", "histories", *FORM_TABLES],
    "statistics": [*MEASURED_TABLES, *COMPARED_TABLES, "findings"],
    "published": ["published"],
    "errors": [*ERROR_TABLES, "lengths"],
    "tsne": ["tsne", "boundary_errors"],
    "attention": ["attention"],
}
DRAWN_TABLES = {"histories", "tsne", "attention"}  # made for a figure, not to be read
FIGURE_TABLES = {
    "learning_curves": "histories",
    "accuracy": "settings",
    "cost": "settings",
    "reliability": "reliability",
    "lengths": "lengths",
    "tsne": "tsne",
    "attention": "attention",
}
FIGURE_THEMES = {
    "learning_curves": ("Training", "Loss and accuracy by epoch"),
    "accuracy": ("Accuracy", "Accuracy by batch and pooling"),
    "cost": ("Accuracy", "Accuracy against seconds"),
    "reliability": ("Calibration", "Accuracy by confidence"),
    "lengths": ("Errors", "Accuracy by length"),
    "tsne": ("Errors", "Map of the reviews"),
    "attention": ("Errors", "Attention in a review"),
}


def is_on(part):
    """Whether a part of the analysis is to be made."""
    if part == "published":
        return bool(PUBLISHED) and ANALYSIS["statistics"]
    return part == "results" or ANALYSIS[part]


def seen_through(wildcards):
    """The encoder whose tokenizer cuts the texts of a baseline."""
    if wildcards.text == grid.FULL_TEXT:
        return []
    model = wildcards.text.removeprefix(grid.SEEN_TEXT)
    return ENCODER.format(dataset=wildcards.dataset, model=model)


def seen_flags(wildcards):
    """What a baseline sees of each text."""
    if wildcards.text == grid.FULL_TEXT:
        return ""
    return flags({"encoder": seen_through(wildcards), "max_length": config["max_length"]})


def drawn_table(wildcards):
    """The table that a figure shows."""
    return f"{TABLES}/{FIGURE_TABLES[wildcards.figure]}.csv"


def read_tables(wildcards):
    """The tables of a part that are made to be read, not drawn."""
    names = PART_TABLES[wildcards.part]
    return [f"{TABLES}/{name}.csv" for name in names if name not in DRAWN_TABLES]


def figure_theme(wildcards):
    """The theme of a figure, as a category of the report."""
    return FIGURE_THEMES[wildcards.figure][0]


def figure_labels(kind):
    """The labels of a figure in the report."""
    return lambda wildcards: {"figure": FIGURE_THEMES[wildcards.figure][1], "form": kind}


def variant_settings():
    """Per variant of the grid, the settings of its training, as JSON."""
    names = dict.fromkeys(run.variant for run in RUNS)
    return {name: json.dumps(study.training(config, name), sort_keys=True) for name in names}


def learns_as_the_base(variant):
    """Whether a variant changes nothing of what is learned."""
    changed = config["variants"][variant].items() - config["training"].items()
    return study.LEARNING_KEYS.isdisjoint(dict(changed))


def published_flags(wildcards):
    """How sources name the models, and which variants learn as published studies did."""
    names = {name: config["models"][name].get("id", name) for name in MODELS}
    variants = [name for name in variant_settings() if learns_as_the_base(name)]
    epochs = config["training"]["epochs"]
    return flags({"models": names, "variants": variants, "epochs": epochs})


TEXTS = [grid.FULL_TEXT, *(grid.SEEN_TEXT + name for name in MODELS)] * ANALYSIS["baseline"]
BASELINE_FOLDERS = expand(BASELINE, dataset=DATASET, text=TEXTS)
BASELINE_FILES = expand(
    "{folder}/{file}", folder=BASELINE_FOLDERS, file=["predictions.parquet", "test.json"]
)
PARTS = list(filter(is_on, PART_TABLES))
READ_PARTS = [part for part in PARTS if not DRAWN_TABLES.issuperset(PART_TABLES[part])]
SHOWN_TABLES = [name for part in PARTS for name in PART_TABLES[part]]
SHOWN_FIGURES = [name for name, table in FIGURE_TABLES.items() if table in SHOWN_TABLES]
TEST_REVIEWS = f"{REVIEWS}/splits/test.parquet".format(dataset=DATASET)
TEST_TOKENS = {
    name: f"{TOKENS}/test.parquet".format(dataset=DATASET, model=name) for name in MODELS
}
CHECKPOINTS = [f"{folder}/checkpoint" for folder in RUN_FOLDERS]


wildcard_constraints:
    text="|".join(map(re.escape, TEXTS)) or grid.FULL_TEXT,
    figure="|".join(FIGURE_TABLES),
    part="|".join(PART_TABLES),
