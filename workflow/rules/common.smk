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

from snakemake.cli import get_argument_parser

IS_MODULE = not workflow.modifier.is_main_snakefile()
SCRIPTS = os.path.abspath(workflow.current_basedir.join("../../scripts"))
sys.path.insert(0, SCRIPTS)

from lib import baselines, catalog, configfiles, failures, forkserver, gpus, planning, schema
from lib import config as configuration
from lib.console import UserError
from lib.data.encoder_files import files_of_encoder
from lib.runs import folders_of

sys.path.remove(SCRIPTS)

# Rules and results that Snakemake's command line names, where all rules are those of this workflow.
NAMED = []
is_whole = not IS_MODULE and os.path.samefile(workflow.basedir, os.path.dirname(SCRIPTS))
if is_whole and "snakemake" in Path(sys.argv[0]).parts[-2:]:
    options, _ = get_argument_parser().parse_known_args()
    NAMED += [*options.targets, *options.forcerun, *options.until, *options.omit_from]
    NAMED += [*options.prioritize, *(options.allowed_rules or ())]

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
    """The script of a rule, which runs nothing again when it changes: it holds flags alone."""
    return outside(os.path.join(SCRIPTS, f"{name}.py"))


def code(name):
    """The digest of the code that decides what a command makes, which runs its rule again."""
    return planning.digest(name)


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


def run_folders(wildcards, input):
    """The folders of the runs among the inputs, a word for each block of the grid.

    The words stay few in large studies, whose folders one by one are too long for a command.
    """
    return blocks_of_runs(input.runs[0].rpartition("dataset=")[0])


def blocks_of_runs(root):
    """The folders of all runs in a folder, a word for each block of the grid."""
    return shlex.join(root + folders_of(DATASET, block) for block in config["grid"])


def runs_to_come(wildcards, output):
    """The folders of all runs, of which there may be none yet."""
    return blocks_of_runs(f"{os.path.dirname(output[0])}/runs/")


def baseline_flags(wildcards, input):
    """The folders of the baselines among the inputs, if there are any."""
    return planning.flags({"baselines": folders(input.baselines)})


def dataset_files(wildcards):
    """The user's own data files, where the dataset has them."""
    return list(map(outside, config["dataset"].get("paths", [])))


def dataset_flags(wildcards):
    """How to fetch the dataset."""
    settings = {key: value for key, value in config["dataset"].items() if key != "name"}
    return f"{settings.pop('source')} {planning.flags(settings)}"


def encoder_files(wildcards):
    """What an encoder is made from: a local folder, or the reviews that its tokenizer learns."""
    model = config["models"][wildcards.model]
    if model["source"] == "scratch":
        return f"{REVIEWS}/splits/train.parquet"
    if model["source"] == "folder":
        return [outside(path) for path in files_of_encoder(Path(model["path"]))]
    return []


def encoder_flags(wildcards, input):
    """How to get the encoder."""
    settings = dict(config["models"][wildcards.model])
    source = settings.pop("source")
    if source == "scratch":
        settings["reviews"] = input.files
    return f"{source} {planning.flags(settings)}"


def trial_flags(wildcards, output):
    """How an encoder is tried, which decides no result.

    As it names `output`, Snakemake does not record it, and another pooling runs nothing again.
    """
    asked = {run.pooling: None for run in RUNS if run.model == wildcards.model}
    return planning.flags({"max_length": config["max_length"], "poolings": list(asked)})


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


def study_flags(wildcards, input):
    """The tokens and encoders of all models, and the settings of all variants of the grid."""
    variants = {run.variant: json.dumps(config["variants"][run.variant]) for run in RUNS}
    places = {"tokens": folders(input.tokens), "encoders": list(input.encoders)}
    return planning.flags({**places, "variants": variants, **config["training"]})


def moment(wildcards):
    """The time, as a parameter of a rule that measures whenever it is asked for."""
    return time.time_ns()


def all_cores(wildcards):
    """All cores that Snakemake may use on this machine."""
    return workflow.cores or 1


def save_minutes(variant):
    """How often a training saves its state; as a resource, whose change runs nothing again."""
    return str(training(variant)["save_minutes"])


def label_flags(wildcards):
    """The names of the classes, in which braces are no wildcards."""
    return planning.flags({"labels": config["dataset"].get("labels", [])})


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
    return settings["processes"] * planning.uses_gpus(settings, N_GPUS)


def test_threads(variant):
    """CPU threads of a test, from the config."""
    return training(variant)["threads"]


def test_gpus(variant):
    """GPUs of a test."""
    return int(planning.uses_gpus(training(variant), N_GPUS))


def gres(gpus):
    """GPUs as Slurm is asked for them: all of one node, where `gpu` may be of several."""
    return by_variant(lambda variant: f"gpu:{gpus(variant)}" if gpus(variant) else "")


def encoder_of_text(wildcards):
    """The encoder whose tokenizer cuts the texts of a baseline."""
    if wildcards.text == baselines.FULL_TEXT:
        return []
    model = wildcards.text.removeprefix(baselines.SEEN_TEXT)
    return ENCODER.format(dataset=wildcards.dataset, model=model)


def text_flags(wildcards, input):
    """What a baseline sees of each text."""
    if not input.encoder:
        return ""
    return planning.flags({"encoder": input.encoder, "max_length": config["max_length"]})


def sample_flags(wildcards, input):
    """What a baseline sees of each text, and which training reviews it learns from."""
    sample = planning.flags({"examples": wildcards.examples, "seed": wildcards.seed})
    return f"{text_flags(wildcards, input)} {sample}"


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
try:
    configuration.check(config)
    if not IS_MODULE and "--lint" not in sys.argv:
        planning.check_study(config["study"])
    for target in NAMED:
        planning.check_target(target, config)
    planning.configure_tracking(config, str(workflow.modifier.modify_path("results")))
except UserError as error:
    sys.exit(f"error: {error}")
planning.name_study(workflow.overwrite_configfiles)

STUDY = config["study"]
DATASET = config["dataset"]["name"]
ANALYSIS = config["analysis"]
RUNS = configuration.runs(config)
N_RUNS = len(RUNS)
MODELS = list(dict.fromkeys(run.model for run in RUNS))
RUN_FOLDERS = [RUN.format(**run._asdict()) for run in RUNS]
RUN_PLACES = [str(workflow.modifier.modify_path(folder)) for folder in RUN_FOLDERS]
RUN_OUTPUTS = ("checkpoint", "history.csv", "train.json", "predictions.parquet", "test.json")
TEXTS = [baselines.FULL_TEXT, *(baselines.SEEN_TEXT + name for name in MODELS)] * ANALYSIS[
    "baseline"
]
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
    batch=planning.COUNT,
    variant="|".join(map(re.escape, config["variants"])),
    seed=planning.SEED,
    text="|".join(map(re.escape, TEXTS)) or baselines.FULL_TEXT,
    examples=planning.COUNT,
    figure="|".join(catalog.FIGURE),
    part="|".join(catalog.PARTS),
