"""The grid, its paths, and what the rules ask of the configuration."""

import ast
import csv
import json
import re
import shlex
import time
from pathlib import Path

SCRIPTS = os.path.relpath(os.path.join(workflow.basedir, "scripts"))
sys.path.insert(0, SCRIPTS)

from lib import cli, config as study, gpus, runs as grid

# Jobs run in the environment that runs Snakemake, whether it is activated or not.
search_path = [os.path.dirname(sys.executable), os.getenv("PATH", os.defpath)]
os.environ.update(PATH=os.pathsep.join(search_path))

REVIEWS = "results/datasets/{dataset}"
ENCODER = "results/encoders/dataset={dataset}/model={model}"
TOKENS = "results/tokens/dataset={dataset}/model={model}"
RUN = (
    "results/runs/dataset={dataset}/model={model}/pooling={pooling}/batch={batch}/"
    "variant={variant}/seed={seed}"
)
RUN_LOGS = RUN.replace("runs", "logs", 1)
RUN_OUTPUTS = ["history.csv", "train.json", "predictions.parquet", "test.json"]
RUNS_TABLE = "results/tables/runs.csv"
MISSING_NOTE = ".snakemake/missing-runs"
BATCH = r"[1-9]\d*"
SEED = r"0|[1-9]\d*"


def refuse(message):
    """End in one line, before any job starts."""
    sys.exit(f"error: {message}")


def run_folder(run):
    """The folder of one run."""
    return RUN.format(**run._asdict())


def check_target(target):
    """Refuse a result that the configuration does not know, and say what it knows."""
    parts = Path(target).parts
    if parts[:1] != ("results",):
        return
    keys = dict(part.split("=", 1) for part in parts if "=" in part)
    allowed = {
        "dataset": [DATASET],
        "model": list(config["models"]),
        "pooling": grid.POOLINGS,
        "variant": list(config["variants"]),
    }
    for key, names in allowed.items():
        if keys.get(key, names[0]) not in names:
            refuse(f"'{target}': unknown {key} '{keys[key]}'; allowed: {', '.join(names)}")
    for key, pattern, least in (("batch", BATCH, 1), ("seed", SEED, 0)):
        number = keys.get(key, "1")
        if not re.fullmatch(pattern, number) or int(number) > cli.MAX_SEED:
            refuse(f"'{target}': {key} is '{number}'; allowed: a whole number from {least} on")
    model = config["models"].get(keys.get("model"))
    if keys.get("pooling") == "pooler" and model and not study.has_pooler(model):
        refuse(f"'{target}': model '{keys['model']}' has no pooler")


def note_missing_runs():
    """Note which files of the runs in the table are missing.

    Snakemake makes a missing file again for a job that has to run, but does not run a job
    because of it. The note is an input of `collect`: new as long as a file is missing, so that
    `collect` runs, and older than anything otherwise.
    """
    missing = [file for file in tabulated_files() if not os.path.exists(file)]
    os.makedirs(os.path.dirname(MISSING_NOTE), exist_ok=True)
    Path(MISSING_NOTE).write_text("\n".join([str(time.time()), *missing]) + "\n", "utf-8")
    if not missing:
        os.utime(MISSING_NOTE, (0, 0))


def tabulated_files():
    """The files of those runs of the study that are in the table of runs, if there is one."""
    if not os.path.exists(RUNS_TABLE):
        return []
    with open(RUNS_TABLE, newline="", encoding="utf-8", errors="replace") as table:
        rows = list(csv.DictReader(table))
    folders = [RUN.format_map(row) for row in rows if row.keys() >= set(grid.KEYS)]
    return [
        f"{folder}/{file}" for folder in folders if folder in RUN_FOLDERS for file in RUN_OUTPUTS
    ]


def flags(settings):
    """Settings as command-line flags, in an order that does not depend on the config's."""
    words = []
    for key, value in sorted(settings.items()):
        values = value if isinstance(value, list) else [value]
        if isinstance(value, dict):
            values = [f"{name}={item}" for name, item in sorted(value.items())]
        if values:
            words += [f"--{key.replace('_', '-')}", *map(study.word, values)]
    return shlex.join(words)


def script(name):
    """The path of a command, as an input that makes its rule run again when it changes."""
    return os.path.join(SCRIPTS, name)


def library(name):
    """The modules of scripts/lib that a command imports, directly or not, as inputs as well."""
    found, queue = set(), [script(name)]
    while queue:
        for module in imported_modules(queue.pop()):
            path = os.path.join(SCRIPTS, "lib", f"{module}.py")
            if path not in found and os.path.exists(path):
                found.add(path)
                queue.append(path)
    return sorted(found)


def imported_modules(path):
    """Names of the modules of `lib` in the import statements of one file."""
    for node in ast.walk(ast.parse(Path(path).read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "lib":
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lib."):
            yield node.module.removeprefix("lib.")


def input_folder(wildcards, input):
    """The folder of a rule's first input."""
    return os.path.dirname(input[0])


def output_folder(wildcards, output):
    """The folder of a rule's first output."""
    return os.path.dirname(output[0])


def dataset_files(wildcards):
    """The user's own data files, where the dataset has them."""
    return config["dataset"].get("paths", [])


def dataset_flags(wildcards):
    """How to fetch the dataset."""
    settings = dict(config["dataset"])
    del settings["name"]
    return f"{settings.pop('source')} {flags(settings)}"


def encoder_files(wildcards):
    """What an encoder is made from: a local folder, or the reviews that its tokenizer learns."""
    model = config["models"][wildcards.model]
    if model["source"] == "scratch":
        return f"{REVIEWS}/splits/train.parquet"
    if model["source"] == "folder":
        return sorted(str(path) for path in Path(model["path"]).iterdir() if path.is_file())
    return []


def encoder_flags(wildcards):
    """How to get the encoder."""
    settings = dict(config["models"][wildcards.model])
    source = settings.pop("source")
    if source == "scratch":
        settings["reviews"] = f"{REVIEWS}/splits/train.parquet".format(**wildcards)
    return f"{source} {flags(settings)}"


def training_flags(wildcards):
    """The settings of a training, those of its variant included."""
    return flags(study.training(config, wildcards.variant))


def test_flags(wildcards):
    """The settings of a test."""
    settings = study.training(config, wildcards.variant)
    return flags({key: settings[key] for key in study.TEST_KEYS})


def run_threads(wildcards):
    """CPU threads of all processes of a training, from the config: results depend on them."""
    settings = study.training(config, wildcards.variant)
    return settings["threads"] * settings["processes"]


def run_memory(wildcards):
    """Memory of a training, in MB."""
    return 8000 * study.training(config, wildcards.variant)["processes"]


def run_gpus(wildcards):
    """GPUs of a training: one for each process, where it computes on GPUs."""
    settings = study.training(config, wildcards.variant)
    return settings["processes"] if uses_gpus(settings) else 0


def test_threads(wildcards):
    """CPU threads of a test, from the config."""
    return study.training(config, wildcards.variant)["threads"]


def test_gpus(wildcards):
    """GPUs of a test."""
    return int(uses_gpus(study.training(config, wildcards.variant)))


def uses_gpus(settings):
    """Whether a run computes on a GPU; with the device `auto`, if this machine has any."""
    return settings["device"] in ("cuda", "mps") or (settings["device"] == "auto" and N_GPUS > 0)


def describe(settings):
    """Settings as the summary shows them."""
    pairs = sorted(settings.items())
    return ", ".join(f"{key} {study.word(value)}" for key, value in pairs if key != "sha256")


def describe_model(settings):
    """An encoder as the summary shows it, with its source first."""
    others = {key: value for key, value in settings.items() if key != "source"}
    return f"{settings['source']}, {describe(others)}"


def settings_flags(wildcards):
    """What the summary says of the models, the training and the variants of the grid."""
    models = {run.model: describe_model(config["models"][run.model]) for run in RUNS}
    variants = {run.variant: describe(config["variants"][run.variant]) for run in RUNS}
    return flags({"models": models, "training": describe(config["training"]), "variants": variants})


try:
    study.check(config)
except cli.UserError as error:
    refuse(error)

STUDY = config["study"]
DATASET = config["dataset"]["name"]
RUNS = study.runs(config)
N_RUNS = len(RUNS)
RUN_FOLDERS = [run_folder(run) for run in RUNS]
RUN_FILES = expand("{folder}/{file}", folder=RUN_FOLDERS, file=RUN_OUTPUTS)

# As many jobs on GPUs at a time as there are GPUs here, unless --resources says otherwise or the
# jobs run on nodes of a cluster.
N_GPUS = gpus.count()
on_nodes = workflow.resource_settings.nodes is not None
if N_GPUS and not on_nodes and "gpu" not in workflow.global_resources:
    workflow.register_resource("gpu", N_GPUS)

for argument in sys.argv[1:]:
    check_target(argument)
if workflow.is_main_process:
    note_missing_runs()

# Tracking changes no result, so it goes by the environment, where it makes no rule run again.
tracking = {
    "WANDB_MODE": config["tracking"]["mode"],
    "WANDB_PROJECT": config["tracking"]["project"],
    "WANDB_RUN_GROUP": STUDY,
    "WANDB_DIR": "results",
}
os.environ.update({**tracking, **os.environ})


wildcard_constraints:
    dataset=re.escape(DATASET),
    model="|".join(map(re.escape, config["models"])),
    pooling="|".join(grid.POOLINGS),
    batch=BATCH,
    variant="|".join(map(re.escape, config["variants"])),
    seed=SEED,


localrules:
    all,
    tokens,
    runs,
    download,
    encoder,
