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

SCRIPTS = os.path.abspath(workflow.current_basedir.join("../../scripts"))
sys.path.insert(0, SCRIPTS)

from lib.command.console import UserError
from lib.data import preview
from lib.data.digests import check_made
from lib.data.division import listed
from lib.data.encoder_files import files_of_encoder
from lib.files.manifests import EXPORTS, sha256
from lib.forks import client as forks
from lib.study import catalog, configfiles, planning, schema
from lib.study import code as code_of
from lib.study import config as configuration
from lib.study.engine import Engine
from lib.study.planning import Unrecorded
from lib.study.runs import COUNT, FULL_TEXT, SEED, SEEN_TEXT, Run, folders_of, keys_in
from lib.training import gpus

sys.path.remove(SCRIPTS)

ENGINE = Engine(workflow)

# A config file on the command line replaces the quick study instead of being merged into it.
QUICK_STUDY = os.path.abspath(workflow.current_basedir.join("../../config/config.yaml"))
if not ENGINE.is_module:
    try:
        configfiles.check_files(ENGINE.config_files or [QUICK_STUDY])
    except UserError as error:
        sys.exit(f"error: {error}")
if not ENGINE.config_files:

    configfile: QUICK_STUDY


REVIEWS = "results/datasets/{dataset}"
ENCODER = "results/encoders/dataset={dataset}/model={model}"
TOKENS = "results/tokens/dataset={dataset}/model={model}"
RUN = (
    "results/runs/dataset={dataset}/model={model}/pooling={pooling}/batch={batch}/"
    "variant={variant}/seed={seed}"
)
VECTORS = "results/vectors/dataset={dataset}/model={model}/pooling={pooling}/{how}"
BASELINE = "results/baselines/dataset={dataset}/text={text}"
TABLES = "results/tables"
FIGURES = "results/figures"
LOGS = "results/logs"
RUN_LOGS = RUN.replace("results/runs", LOGS)
TRAINED = ("checkpoint", "history.csv", "train.json")
PREDICTED = ("predictions.parquet", "probabilities.parquet")
TESTED = (*TRAINED, *PREDICTED, "test.json")


def outside(path):
    """A path that is no result: as it is, or absolute where a prefix is put before results."""
    return os.path.abspath(path) if ENGINE.is_module else os.path.relpath(path)


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
    names = catalog.tables_in(PARTS, command)
    return expand(f"{TABLES}/{{name}}.{{kind}}", name=names, kind=["parquet", "csv"])


def files_of_runs(*names):
    """The files of these names of all runs of the study, listed once a rule asks for them."""
    return lambda wildcards: [f"{folder}/{name}" for folder in RUN_FOLDERS for name in names]


def tested_folders():
    """The folders of the runs that are tested: of a tuned study not those at all rates.

    Which these are is known once all runs are trained: until then, Snakemake plans no further.
    """
    if not ANALYSIS["tuned"]:
        return RUN_FOLDERS
    checkpoints.choose.get()
    try:
        return [RUN.format(**run._asdict()) for run in planning.tested(RUNS, RATES)]
    except UserError as error:
        sys.exit(f"error: {error}")


def files_of_tested_runs(*names):
    """The files of these names of the runs that are tested."""
    return lambda wildcards: [f"{folder}/{name}" for folder in tested_folders() for name in names]


def whole_runs(wildcards):
    """The last file of each run, and whatever else is missing of runs of which there is something.

    That says as much as to list all files of all runs, and Snakemake plans it faster.
    """
    tested, wanted = set(tested_folders()), []
    for folder in RUN_FOLDERS:
        place, names = ENGINE.place(folder), TESTED if folder in tested else TRAINED
        missing = [name for name in names if not os.path.exists(f"{place}/{name}")]
        others = missing if len(missing) < len(names) else []
        wanted += [f"{folder}/{name}" for name in dict.fromkeys([names[-1], *others])]
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


def logs_folder(wildcards, output):
    """The folder of all logs, beside that of the tables."""
    return os.path.join(os.path.dirname(os.path.dirname(output[0])), "logs")


def run_folders(wildcards):
    """The folders of all runs, in the order of the grid, a word for each of its blocks.

    The words stay few in large studies, whose folders one by one are too long for a command.
    """
    return shlex.join(f"{RUNS_ROOT}/{folders_of(DATASET, block)}" for block in config["grid"])


def baseline_folders(wildcards, input):
    """The folders of the baselines among the inputs."""
    return planning.files(baselines=folders(input.baselines))


def encoder_files(wildcards):
    """The files of an encoder in a local folder."""
    folder = config["models"][wildcards.model].get("path")
    return [outside(path) for path in files_of_encoder(Path(folder))] if folder else []


def encoder_reviews(wildcards):
    """The reviews from which the tokenizer of a new encoder learns."""
    is_new = config["models"][wildcards.model]["source"] == "scratch"
    return [f"{REVIEWS}/splits/train.parquet"] if is_new else []


def encoder_trial(wildcards):
    """How an encoder is tried, which decides no result: another pooling runs nothing again."""
    asked = [run for run in RUNS if run.model == wildcards.model]
    longest = max((training(run.variant)["max_length"] for run in asked), default=[])
    poolings = list(dict.fromkeys(run.pooling for run in asked))
    return Unrecorded(planning.flags({"max_length": longest, "poolings": poolings}))


def by_variant(function):
    """What a function says of a variant: its value where all variants agree, which plans faster."""
    values = set(map(function, config["variants"]))
    return values.pop() if len(values) == 1 else lambda wildcards: function(wildcards.variant)


def training(variant):
    """The training settings of a run."""
    return configuration.training(config, variant)


def vectors_settings(wildcards):
    """The settings on which the vectors of an encoder that is not trained depend."""
    return {key: HOW[wildcards.how][key] for key in configuration.OF_VECTORS}


def vectors_threads(wildcards):
    """CPU threads that compute vectors."""
    return HOW[wildcards.how]["threads"]


def vectors_gpus(wildcards):
    """GPUs that compute vectors."""
    return int(gpus.uses_gpus(HOW[wildcards.how], N_GPUS))


def vectors_folder(run):
    """The folder of the vectors that a run learns from; empty where it does not."""
    if not configuration.has_vectors(config, run):
        return ""
    return VECTORS.format(**run._asdict(), how=configuration.vectors_of(config, run.variant))


def vectors_of_run(*names):
    """The files of vectors of these splits; none for runs that do not learn from any."""

    def files(wildcards):
        folder = vectors_folder(Run(**wildcards))
        return [f"{folder}/{name}.parquet" for name in names if folder]

    return files


def training_flags(variant):
    """The settings of a training, those of its variant included, that may change its results."""
    settings = training(variant)
    return planning.flags({key: settings[key] for key in settings if key != "save_minutes"})


def all_vectors(wildcards):
    """The folders of the vectors of all runs, which need not be there."""
    found = dict.fromkeys(filter(None, map(vectors_folder, RUNS)))
    return planning.files(vectors=map(ENGINE.place, found))


def study_settings(wildcards):
    """The settings of all variants of the grid."""
    variants = {run.variant: json.dumps(config["variants"][run.variant]) for run in RUNS}
    return {"variants": variants, **config["training"]}


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


def run_gpus(variant):
    """GPUs of a training: one for each process, where it computes on GPUs."""
    return training(variant)["processes"] * test_gpus(variant)


def test_gpus(variant):
    """GPUs of a test."""
    return int(gpus.uses_gpus(training(variant), N_GPUS))


def gres(gpus):
    """GPUs as Slurm is asked for them: all of one node, where `gpu` may be of several."""
    return by_variant(lambda variant: f"gpu:{gpus(variant)}" if gpus(variant) else "")


def encoder_of_text(wildcards):
    """The encoder whose tokenizer cuts the texts of a baseline."""
    text = wildcards.text.partition("/")[0]
    model = text.removeprefix(SEEN_TEXT)
    return [] if model == text else ENCODER.format(dataset=DATASET, model=model)


def baseline_settings(wildcards):
    """What a baseline sees of each text, which training reviews it learns from, how it is tuned."""
    return keys_in(Path(wildcards.text)) | {"choose_by": config["training"]["choose_by"]}


def explain_settings(wildcards):
    """Which reviews are shown, and the threads on which vectors and attention depend."""
    keys = [key for key in ("tsne", "attention", "sample", "seed", "review") if key in ANALYSIS]
    return {key: ANALYSIS[key] for key in keys} | {"threads": config["training"]["threads"]}


def exports(wildcards):
    """What checkpoints were exported to, of which a new one has predictions timed again."""
    names = [f"{name}/model.onnx" for name in EXPORTS.values()]
    found = (f"{folder}/{name}" for folder in tested_folders() for name in names)
    return [path for path in found if os.path.exists(ENGINE.place(path))]


def latency_settings(wildcards):
    """Which lengths are timed, and where predictions are computed."""
    keys = ("device", "precision", "threads")
    settings = {key: config["training"][key] for key in keys}
    return settings | {"latency_lengths": ANALYSIS["latency_lengths"]}


def latency_gpus(wildcards):
    """GPUs on which predictions are timed."""
    return int(gpus.uses_gpus(config["training"], N_GPUS))


def published_figures():
    """The file of published figures: no input, as a checkout has a time and a place of its own."""
    return [ANALYSIS["published"]] if "published" in PARTS else []


planning.use_environment_of(sys.executable)
planning.name_user()
try:
    configuration.check(config)
    STUDY, DATASET, ANALYSIS = config["study"], config["dataset"]["name"], config["analysis"]
    if not ENGINE.is_module and "--lint" not in sys.argv:
        planning.check_study(STUDY)
    planning.configure_tracking(config, ENGINE.place("results"))
    described = Path(ENGINE.place(REVIEWS.format(dataset=DATASET))) / "reviews.json"
    check_made("dataset", config["dataset"], described)
    for model, part in config["models"].items():
        folder = Path(ENGINE.place(ENCODER.format(dataset=DATASET, model=model)))
        check_made(f"models.{model}", part, folder / "source.json")
    preview.check(config["dataset"], config["split"], described)
except UserError as error:
    sys.exit(f"error: {error}")
planning.name_study(ENGINE.config_files)

RUNS = configuration.runs(config)
RUNS_ROOT = ENGINE.place("results/runs")
RATES = Path(ENGINE.place(f"{TABLES}/tuning.csv"))
N_RUNS = len(RUNS)
HOW = {configuration.vectors_of(config, name): training(name) for name in config["variants"]}
MODELS = list(dict.fromkeys(run.model for run in RUNS))
RUN_FOLDERS = [RUN.format(**run._asdict()) for run in RUNS]
TEXTS, SAMPLES = planning.baselines(config, RUNS) if ANALYSIS["baseline"] else ([], [])
PARTS = planning.parts(config, RUNS)
SHOWN_FIGURES = [
    catalog.FIGURE[name].told(ANALYSIS["metric"], config["dataset"]["noun"])
    for name in catalog.figures_in(PARTS)
]
BASELINES, SAMPLE_BASELINES = (
    expand(
        f"{BASELINE}/{{file}}",
        dataset=DATASET,
        text=texts,
        file=[*PREDICTED, "test.json"],
    )
    for texts in (TEXTS, SAMPLES)
)
N_GPUS = gpus.count()
ENGINE.bound_gpus(N_GPUS)


wildcard_constraints:
    dataset=re.escape(DATASET),
    model="|".join(map(re.escape, config["models"])),
    pooling="|".join(schema.poolings()),
    batch=COUNT,
    variant="|".join(map(re.escape, config["variants"])),
    seed=SEED,
    how="|".join(map(re.escape, HOW)),
    text=f"({'|'.join(map(re.escape, TEXTS)) or FULL_TEXT})(/examples={COUNT}/seed=({SEED}))?",
