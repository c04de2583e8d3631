"""The study that the configuration asks for: its runs, its files, and what the wildcards may be.

The functions say what the rules take of it, in the order of the chain.
"""

import json
import os
import re
import shlex
import sys
import time
from pathlib import Path

IS_MODULE = not workflow.modifier.is_main_snakefile()
SCRIPTS = os.path.abspath(workflow.current_basedir.join("../../scripts"))
sys.path.insert(0, SCRIPTS)

from lib.command.console import UserError
from lib.data import preview
from lib.data.digests import check_made
from lib.data.encoder_files import files_of_encoder
from lib.files.manifests import sha256
from lib.forks import client as forks
from lib.study import catalog, configfiles, failures, planning, schema, slurm
from lib.study import code as code_of
from lib.study import config as configuration
from lib.study.planning import Unrecorded
from lib.study.runs import COUNT, FULL_TEXT, SEED, SEEN_TEXT, folders_of
from lib.training import gpus

sys.path.remove(SCRIPTS)

# A config file on the command line replaces the quick study instead of being merged into it.
QUICK_STUDY = os.path.abspath(workflow.current_basedir.join("../../config/config.yaml"))
if not IS_MODULE:
    try:
        configfiles.check_files(workflow.overwrite_configfiles or [QUICK_STUDY])
    except UserError as error:
        sys.exit(f"error: {error}")
if not workflow.overwrite_configfiles:

    configfile: QUICK_STUDY


REVIEWS = "results/datasets/{dataset}"
ENCODER = "results/encoders/dataset={dataset}/model={model}"
TOKENS = "results/tokens/dataset={dataset}/model={model}"
RUN = (
    "results/runs/dataset={dataset}/model={model}/pooling={pooling}/batch={batch}/"
    "variant={variant}/seed={seed}"
)
BASELINE = "results/baselines/dataset={dataset}/text={text}"
BASELINE_SAMPLE = f"{BASELINE}/examples={{examples}}/seed={{seed}}"
TABLES = "results/tables"
FIGURES = "results/figures"
LOGS = "results/logs"
RUN_LOGS = RUN.replace("results/runs", LOGS)


def outside(path):
    """A path that is no result: as it is, or absolute where a prefix is put before results."""
    return os.path.abspath(path) if IS_MODULE else os.path.relpath(path)


def command(name):
    """The script of a rule, wherever it stands; it holds flags alone and decides no result."""
    return Unrecorded(outside(os.path.join(SCRIPTS, f"{name}.py")))


def code(name):
    """The digest of the code that decides what a command makes, which runs its rule again."""
    return code_of.digest(name)


def flags(settings):
    """Settings as flags, whose change runs a rule again.

    Snakemake records no parameter that depends on input, output, threads or resources. So what
    decides a result depends on wildcards and the configuration alone: the functions that take
    files tell paths.

    Args:
        settings: a mapping, or a function of wildcards that gives one.
    """
    return lambda wildcards: planning.flags(settings(wildcards) if callable(settings) else settings)


def table(name):
    """A table of results, as rules read it."""
    return f"{TABLES}/{name}.parquet"


def tables_of(command):
    """The files of the tables that a command writes: for rules and for people."""
    return expand(
        f"{TABLES}/{{name}}.{{kind}}", name=catalog.tables_of(command), kind=["parquet", "csv"]
    )


def files_of_runs(*names):
    """The files of these names of all runs of the study, listed once a rule asks for them."""
    return lambda wildcards: [f"{folder}/{name}" for folder in RUN_FOLDERS for name in names]


def whole_runs(wildcards):
    """The tests of all runs, and whatever else is missing of runs of which there is something.

    That says as much as to list all files of all runs, and Snakemake plans it faster.
    """
    wanted = []
    for folder, place in zip(RUN_FOLDERS, RUN_PLACES):
        missing = [name for name in RUN_OUTPUTS if not os.path.exists(f"{place}/{name}")]
        others = missing if len(missing) < len(RUN_OUTPUTS) else []
        wanted += [f"{folder}/{name}" for name in dict.fromkeys(["test.json", *others])]
    return wanted


def folders(files):
    """The folders of files, each once."""
    return list(dict.fromkeys(map(os.path.dirname, files)))


def input_folder(wildcards, input):
    """The folder of a rule's first input."""
    return os.path.dirname(input[0])


def output_folder(wildcards, output):
    """The folder of a rule's first output."""
    return os.path.dirname(output[0])


def logs_folder(wildcards, input):
    """The folder of all logs, beside that of the tables."""
    return os.path.join(os.path.dirname(os.path.dirname(input.table)), "logs")


def run_folders(wildcards):
    """The folders of all runs, in the order of the grid, a word for each of its blocks.

    The words stay few in large studies, whose folders one by one are too long for a command.
    """
    return shlex.join(f"{RUNS_ROOT}/{folders_of(DATASET, block)}" for block in config["grid"])


def baseline_folders(wildcards, input):
    """The folders of the baselines among the inputs, if there are any."""
    return planning.flags({"baselines": folders(input.baselines)})


def token_folders(wildcards, input):
    """The folders of tokens and encoders among the inputs."""
    return planning.flags({"tokens": folders(input.tokens), "encoders": list(input.encoders)})


def review_file(wildcards, input):
    """The reviews among the inputs, if there are any."""
    return planning.flags({"reviews": list(input.reviews)})


def encoder_folder(wildcards, input):
    """The encoder among the inputs of a baseline, if it has one."""
    return planning.flags({"encoder": input.encoder} if input.encoder else {})


def dataset_files(wildcards):
    """The user's own data files, where the dataset has them."""
    return list(map(outside, config["dataset"].get("paths", [])))


def source(part):
    """How to fetch a dataset or an encoder; what it has to be like is `digests`."""
    others = {key: part[key] for key in part if key not in ("source", "name", "sha256")}
    return f"{part['source']} {planning.flags(others)}"


def digests(part):
    """The digests that are expected of files; they decide no result, and the plan looks at them."""
    return Unrecorded(planning.flags({"sha256": part.get("sha256", {})}))


def described():
    """The parts of the configuration from which something is fetched, and what tells of it."""
    name = config["dataset"]["name"]
    yield "dataset", config["dataset"], f"{REVIEWS}/reviews.json".format(dataset=name)
    for model, part in config["models"].items():
        folder = ENCODER.format(dataset=name, model=model)
        yield f"models.{model}", part, f"{folder}/source.json"


def dataset_source(wildcards):
    """How to fetch the dataset."""
    return source(config["dataset"])


def dataset_digests(wildcards):
    """The digests that are expected of its files."""
    return digests(config["dataset"])


def encoder_files(wildcards):
    """The files of an encoder in a local folder."""
    folder = config["models"][wildcards.model].get("path")
    return [outside(path) for path in files_of_encoder(Path(folder))] if folder else []


def encoder_reviews(wildcards):
    """The reviews from which the tokenizer of a new encoder learns."""
    is_new = config["models"][wildcards.model]["source"] == "scratch"
    return [f"{REVIEWS}/splits/train.parquet"] if is_new else []


def encoder_source(wildcards):
    """How to get the encoder."""
    return source(config["models"][wildcards.model])


def encoder_digests(wildcards):
    """The digests that are expected of its files."""
    return digests(config["models"][wildcards.model])


def encoder_trial(wildcards):
    """How an encoder is tried, which decides no result: another pooling runs nothing again."""
    asked = {run.pooling: None for run in RUNS if run.model == wildcards.model}
    trial = {"max_length": config["max_length"], "poolings": list(asked)}
    return Unrecorded(planning.flags(trial))


def by_variant(function):
    """What a function says of a variant: its value where all variants agree, which plans faster."""
    values = set(map(function, config["variants"]))
    return values.pop() if len(values) == 1 else lambda wildcards: function(wildcards.variant)


def training(variant):
    """The training settings of a run."""
    return configuration.training(config, variant)


def training_flags(variant):
    """The settings of a training, those of its variant included, that may change its results."""
    settings = training(variant)
    return planning.flags({key: settings[key] for key in settings if key != "save_minutes"})


def study_settings(wildcards):
    """The settings of all variants of the grid."""
    variants = {run.variant: json.dumps(config["variants"][run.variant]) for run in RUNS}
    return {"variants": variants, **config["training"]}


def moment(wildcards):
    """The time, as a parameter of a rule that measures whenever it is asked for."""
    return time.time_ns()


def all_cores(wildcards):
    """All cores that Snakemake may use on this machine."""
    return workflow.cores or 1


def save_minutes(variant):
    """How often a training saves its state; as a resource, whose change runs nothing again."""
    return str(training(variant)["save_minutes"])


def test_flags(variant):
    """The settings of a test."""
    settings = training(variant)
    return planning.flags({key: settings[key] for key in schema.keys_that("tested")})


def run_threads(variant):
    """CPU threads of all processes of a training, from the config: results depend on them."""
    return training(variant)["threads"] * training(variant)["processes"]


def run_memory(variant):
    """Memory of a training, in MB."""
    return 8000 * training(variant)["processes"]


def run_gpus(variant):
    """GPUs of a training: one for each process, where it computes on GPUs."""
    settings = training(variant)
    return settings["processes"] * gpus.uses_gpus(settings, N_GPUS)


def test_threads(variant):
    """CPU threads of a test, from the config."""
    return training(variant)["threads"]


def test_gpus(variant):
    """GPUs of a test."""
    return int(gpus.uses_gpus(training(variant), N_GPUS))


def gres(gpus):
    """GPUs as Slurm is asked for them: all of one node, where `gpu` may be of several."""
    return by_variant(lambda variant: f"gpu:{gpus(variant)}" if gpus(variant) else "")


def encoder_of_text(wildcards):
    """The encoder whose tokenizer cuts the texts of a baseline."""
    if wildcards.text == FULL_TEXT:
        return []
    model = wildcards.text.removeprefix(SEEN_TEXT)
    return ENCODER.format(dataset=wildcards.dataset, model=model)


def text_settings(wildcards):
    """What a baseline sees of each text."""
    is_whole = wildcards.text == FULL_TEXT
    return {} if is_whole else {"max_length": config["max_length"]}


def sample_settings(wildcards):
    """What a baseline sees of each text, and which training reviews it learns from."""
    sample = {"examples": wildcards.examples, "seed": wildcards.seed}
    return text_settings(wildcards) | sample


def map_settings(wildcards):
    """Which reviews are on the map, and the threads on which the vectors depend."""
    shown = {key: ANALYSIS[key] for key in ("sample", "seed")}
    return shown | {"threads": config["training"]["threads"]}


def attention_settings(wildcards):
    """Which review is shown, and the threads on which the attention depends."""
    return {"review": ANALYSIS.get("review", []), "threads": config["training"]["threads"]}


def published_file(wildcards):
    """The published figures: no input, since a checkout has a time and a place of its own."""
    return Unrecorded(outside(ANALYSIS["published"]))


def published_digest(wildcards):
    """The digest of the published figures."""
    return sha256(Path(ANALYSIS["published"]))


def drawn_table(wildcards):
    """The table that a figure shows."""
    return table(catalog.FIGURE[wildcards.figure].table)


def figure_theme(wildcards):
    """The theme of a figure, as a category of the report."""
    return catalog.FIGURE[wildcards.figure].theme


def figure_caption(wildcards):
    """What the report says under a figure."""
    return catalog.FIGURE[wildcards.figure].caption


def figure_labels(form):
    """The labels of a figure in the report."""
    return lambda wildcards: {"figure": catalog.FIGURE[wildcards.figure].title, "form": form}


def tables_to_read(wildcards):
    """The tables of a part that are made to be read."""
    return list(map(table, catalog.tables_to_read(wildcards.part)))


def is_on(part):
    """Whether a part of the analysis is to be made."""
    if part == "published":
        return "published" in ANALYSIS and ANALYSIS["statistics"]
    if part == "data_curve":
        return bool(SAMPLES) and ANALYSIS["statistics"]
    return part == "results" or ANALYSIS[part]


planning.use_environment_of(sys.executable)
planning.name_user()
try:
    configuration.check(config)
    if not IS_MODULE and "--lint" not in sys.argv:
        planning.check_study(config["study"])
    planning.configure_tracking(config, str(workflow.modifier.modify_path("results")))
    for key, part, description in described():
        check_made(key, part, Path(workflow.modifier.modify_path(description)))
    _, _, description = next(described())
    described_at = Path(workflow.modifier.modify_path(description))
    preview.check(config["dataset"], config["split"], described_at)
except UserError as error:
    sys.exit(f"error: {error}")
planning.name_study(workflow.overwrite_configfiles)

STUDY = config["study"]
DATASET = config["dataset"]["name"]
ANALYSIS = config["analysis"]
RUNS = configuration.runs(config)
RUNS_ROOT = str(workflow.modifier.modify_path("results/runs"))  # not known once rules are used
N_RUNS = len(RUNS)
MODELS = list(dict.fromkeys(run.model for run in RUNS))
RUN_FOLDERS = [RUN.format(**run._asdict()) for run in RUNS]
RUN_PLACES = [str(workflow.modifier.modify_path(folder)) for folder in RUN_FOLDERS]
RUN_OUTPUTS = ("checkpoint", "history.csv", "train.json", "predictions.parquet", "test.json")
TEXTS = [FULL_TEXT, *(SEEN_TEXT + name for name in MODELS)] * ANALYSIS["baseline"]
BASELINE_OUTPUTS = ["predictions.parquet", "test.json"]
BASELINE_FILES = expand(f"{BASELINE}/{{file}}", dataset=DATASET, text=TEXTS, file=BASELINE_OUTPUTS)
SIZES = {variant: training(variant)["examples"] for variant in config["variants"]}
SAMPLES = {
    f"examples={SIZES[run.variant]}/seed={run.seed}": None
    for run in RUNS
    if SIZES[run.variant] != "all"
}
SAMPLE_FILES = expand(
    f"{BASELINE}/{{sample}}/{{file}}",
    dataset=DATASET,
    text=TEXTS,
    sample=SAMPLES,
    file=BASELINE_OUTPUTS,
)
TEST_REVIEWS = f"{REVIEWS}/splits/test.parquet".format(dataset=DATASET)
TEST_TOKENS = expand(f"{TOKENS}/test.parquet", dataset=DATASET, model=MODELS)
PARTS = list(filter(is_on, catalog.PARTS))
READ_PARTS = list(filter(catalog.tables_to_read, PARTS))
SHOWN_TABLES = list(map(table, catalog.tables_in(PARTS)))
FINDINGS = ["findings"] * ANALYSIS["statistics"]
SHOWN_FIGURES = catalog.figures_in(PARTS)

# As many jobs on GPUs at a time as there are GPUs here, unless --resources says otherwise or the
# jobs run on nodes of a cluster.
N_GPUS = gpus.count()
on_nodes = workflow.resource_settings.nodes is not None
if N_GPUS and not on_nodes and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", N_GPUS)


wildcard_constraints:
    dataset=re.escape(DATASET),
    model="|".join(map(re.escape, config["models"])),
    pooling="|".join(schema.poolings()),
    batch=COUNT,
    variant="|".join(map(re.escape, config["variants"])),
    seed=SEED,
    text="|".join(map(re.escape, TEXTS)) or FULL_TEXT,
    examples=COUNT,
    figure="|".join(catalog.FIGURE),
    part="|".join(catalog.PARTS),
