"""The whole workflow, run for real in a copy of the project, on real reviews."""

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import call
from safetensors.torch import load_file
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, f1_score
from workspace import RUN, SECRETS, SUMMARY, USUAL_PARTS, Workspace, files_with

import evaluate
import explain
import train
from lib.analysis.baseline import seen_texts
from lib.data.cutting import Cut
from lib.data.encoders import load_tokenizer
from lib.data.folding import fold
from lib.data.tokenizer_training import train_wordpiece
from lib.files.manifests import sha256
from lib.files.whole import amend
from lib.study import catalog
from lib.study.config import check, training
from lib.study.runs import KEYS

RUNS = [
    ("bert", "masked-mean", 64, "base", 1),
    ("modernbert", "padded-mean", 64, "decayed", 1),
]
FIGURES = catalog.figures_in(USUAL_PARTS)
FROM_RUNS = dict.fromkeys(("collect", "analyse", "explain", "latency", "draw", "summary"), 1)
FOLDERS = [RUN.format(*run) for run in RUNS]
BASE = FOLDERS[0]
UMASK = 0o027
SEEN = "max_length=64/truncation=auto"  # in the folders of baselines


@pytest.fixture(scope="module")
def study(python, tmp_path_factory) -> Workspace:
    """The study of tests/config.yaml, complete."""
    workspace = Workspace(tmp_path_factory.mktemp("study"))
    workspace.write_config("study.yaml")
    workspace.environment = SECRETS
    workspace.umask = UMASK
    jobs = workspace.jobs(python, SUMMARY, "--cores", "2", "-p", "--configfile", "study.yaml")
    assert jobs == {
        "download": 1,
        "split": 1,
        "encoder": 2,
        "pretokenize": 2,
        "train": 2,
        "evaluate": 2,
        "baseline": 3,
        **FROM_RUNS,
    }
    return workspace


def test_no_secret_is_in_any_file_or_message(study, python):
    done = study.snakemake(python, "--report", "r.html", "--configfile=study.yaml", SUMMARY)
    assert done.returncode == 0, done.stderr
    assert list(study.folder.rglob("*.wandb")) and study.said
    for secret in SECRETS.values():
        assert secret not in study.said + done.stderr and not files_with(secret, study.folder)


def test_results_are_open_to_whom_the_umask_says(study):
    made = [path for path in (study.folder / "results").rglob("*") if not path.is_symlink()]
    assert {path.stat().st_mode & 0o777 for path in made if path.is_dir()} == {0o777 & ~UMASK}
    assert {path.stat().st_mode & 0o777 for path in made if path.is_file()} == {0o666 & ~UMASK}
    others = [*(study.folder / ".snakemake").rglob("*")]
    assert others and not [path for path in others if path.stat().st_mode & 0o007]


def nothing_to_do(study, python, *arguments):
    done = study.snakemake(python, "-n", *arguments)
    return "Nothing to be done" in done.stdout + done.stderr


def test_datasets(study):
    reviews = pq.read_table(study.folder / "results/datasets/imdb-25k/reviews.parquet")
    assert {field.name: str(field.type) for field in reviews.schema} == {
        "id": "int64",
        "text": "string",
        "label": "int8",
        "origin": "string",
    }
    counts = json.loads(study.read("results/datasets/imdb-25k/reviews.json"))
    assert counts["reviews"] == reviews.num_rows == 3500
    assert {"source", "revision", "sha256", "dropped"} <= counts.keys()
    splits = [
        pq.read_table(study.folder / f"results/datasets/imdb-25k/splits/{split}.parquet")
        for split in ("train", "valid", "test")
    ]
    assert [split.num_rows for split in splits] == [3000, 300, 200]
    assert all(split.column_names == ["id", "text", "label"] for split in splits)
    texts = [fold(text) for split in splits for text in split["text"].to_pylist()]
    assert len(set(texts)) == 3500


def test_tokens(study):
    for model, with_types in (("bert", True), ("modernbert", False)):
        folder = study.folder / f"results/tokens/dataset=imdb-25k/model={model}"
        table = pq.read_table(folder / "train.parquet", partitioning=None)
        types = ["token_type_ids"] if with_types else []
        assert table.column_names == ["id", "label", "input_ids", *types, "n_tokens"]
        lengths = [len(ids) for ids in table["input_ids"].to_pylist()]
        assert table["n_tokens"].to_pylist() == lengths and max(lengths) > 512  # as of whole texts


def test_the_vocabulary_of_a_new_encoder_is_that_of_the_training_split(study):
    splits = study.folder / "results/datasets/imdb-25k/splits"
    texts = pq.read_table(splits / "train.parquet")["text"].to_pylist()
    found = load_tokenizer(study.folder / "results/encoders/dataset=imdb-25k/model=bert")
    assert found.get_vocab() == train_wordpiece(lambda: texts, 3000).get_vocab()


@pytest.mark.parametrize("folder", FOLDERS)
def test_runs(study, folder):
    trained = json.loads(study.read(f"{folder}/train.json"))
    tested = json.loads(study.read(f"{folder}/test.json"))
    run = dict(part.split("=") for part in Path(folder).parts[2:])
    assert {key: str(trained[key]) for key in KEYS} == run
    assert {key: str(tested[key]) for key in KEYS} == run
    assert trained.keys() >= {
        *("best_epoch", "train_accuracy", "valid_accuracy", "valid_loss", "updates"),
        "updates_skipped",
        *("train_seconds", "startup_seconds", "examples_per_second", "peak_memory_bytes"),
        *("device", "precision", "compiled", "threads", "micro_batch", "learning_rate", "versions"),
    }
    explains_itself(study, trained)
    assert trained["updates"] == 2 * 47  # ceil(3000 / 64) in each of two epochs
    assert trained["chance_p"] < 1e-4  # else the analyses below would be of nothing
    assert trained["micro_batch"] == 24
    history = pd.read_csv(study.folder / folder / "history.csv")
    assert ",".join(history.columns) == (
        "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,valid_balanced_accuracy,"
        "valid_macro_f1,temperature,chance_p,grad_norm,learning_rate,updates,seconds"
    )
    best = history.set_index("epoch").loc[trained["best_epoch"]]
    assert best["valid_accuracy"] == history["valid_accuracy"].max() == trained["valid_accuracy"]

    predictions = pq.read_table(study.folder / folder / "predictions.parquet", partitioning=None)
    assert {field.name: str(field.type) for field in predictions.schema} == {
        "id": "int64",
        "label": "int8",
        "prediction": "int8",
        "confidence": "float",
        "loss": "float",
    }
    frame = predictions.to_pandas()
    test = pd.read_parquet(study.folder / "results/datasets/imdb-25k/splits/test.parquet")
    assert frame["id"].tolist() == sorted(test["id"])
    assert frame["label"].tolist() == test.set_index("id").loc[frame["id"], "label"].tolist()
    assert tested["accuracy"] == accuracy_score(frame["label"], frame["prediction"])
    assert tested["macro_f1"] == f1_score(frame["label"], frame["prediction"], average="macro")
    assert tested["loss"] == pytest.approx(frame["loss"].mean(), rel=1e-6)
    assert frame["confidence"].between(0.5, 1).all()
    assert tested["n"] == 200

    names = {path.name for path in (study.folder / folder / "checkpoint").iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= names
    card = study.read(f"{folder}/checkpoint/README.md")
    assert "of this study; the data are under MIT, as their source says." in card
    assert load_file(study.folder / folder / "checkpoint" / "model.safetensors")
    labels = json.loads(study.read(f"{folder}/checkpoint/config.json"))["id2label"]
    assert labels == {"0": "negative", "1": "positive"}


def explains_itself(study, trained) -> None:
    """A run tells how it was trained, on what, and from which encoder."""
    config = yaml.safe_load(study.read("study.yaml"))
    check(config)
    assert trained["settings"] == training(config, trained["variant"])
    assert trained["encoder"]["source"] == "scratch"
    assert trained["encoder"]["hidden_size"] == 32
    model = f"dataset=imdb-25k/model={trained['model']}"
    for name, digest in trained["encoder"]["sha256"].items():
        assert sha256(study.folder / f"results/encoders/{model}/{name}") == digest
    assert set(trained["encoder"]["sha256"]) == {
        *("config.json", "tokenizer.json", "tokenizer_config.json")
    }
    tokens = study.folder / f"results/tokens/{model}/train.parquet"
    assert trained["tokens_sha256"] == sha256(tokens)
    assert trained["workflow"] == yaml.safe_load(study.read("CITATION.cff"))["version"]


def test_a_variant_trains_in_several_processes_and_keeps_its_checkpoints(study):
    base, variant = (json.loads(study.read(f"{folder}/train.json")) for folder in FOLDERS)
    assert (base["backend"], base["processes"]) == ("torch", 1)
    assert (variant["backend"], variant["processes"]) == ("accelerate", 2)
    assert not (study.folder / FOLDERS[0] / "checkpoints").exists()
    kept = sorted(path.name for path in (study.folder / FOLDERS[1] / "checkpoints").iterdir())
    history = pd.read_csv(study.folder / FOLDERS[1] / "history.csv")
    accuracies = enumerate(history["valid_accuracy"], 1)
    assert kept == [f"epoch={epoch}-acc={accuracy:.4f}" for epoch, accuracy in accuracies]


def test_tables_and_summary(study):
    table = pd.read_csv(study.folder / "results/tables/runs.csv")
    assert [tuple(run) for run in table[list(KEYS[1:])].itertuples(index=False)] == RUNS
    assert table.notna().all().all()
    assert table["settings.optimizer"].tolist() == ["adam", "adamw"]
    assert table["settings.scheduler"].tolist() == ["constant", "linear"]
    assert {"accuracy", "valid_accuracy", "train_seconds", "peak_memory_bytes"} <= set(table)
    for row, folder in zip(table.to_dict("records"), FOLDERS, strict=True):
        measured = json.loads(study.read(f"{folder}/train.json"))
        measured |= json.loads(study.read(f"{folder}/test.json"))
        numbers = {key for key, value in measured.items() if type(value) in (int, float)}
        assert numbers <= row.keys()
        assert all(row[key] == pytest.approx(measured[key]) for key in numbers)
    page = study.read(SUMMARY)
    assert "bert and modernbert started from random weights" in page
    assert "comes from one seed" in page
    assert all(f"{accuracy:.4f}" in page for accuracy in table["accuracy"])
    figures = sorted((study.folder / "results/figures").glob("*.svg"))
    assert [figure.stem for figure in figures] == sorted(FIGURES)
    assert all(f"(figures/{figure.name})" in page for figure in figures)
    assert all(figure.with_suffix(".html").is_file() for figure in figures)
    curves = study.read("results/figures/learning_curves.svg")
    assert all(name in curves for name in ("masked-mean", "modernbert", "validation", "Epoch"))
    for question in ("Which encoder?", "Did any run fail to learn?", "What does accuracy cost"):
        assert question in page


def test_statistics_agree_with_those_by_hand(study):
    first, second = (pd.read_parquet(study.folder / f"{f}/predictions.parquet") for f in FOLDERS)
    right = first["label"] == first["prediction"], second["label"] == second["prediction"]
    wilson = binomtest(right[0].sum(), len(first)).proportion_ci(method="wilson")
    measures = pd.read_csv(study.folder / "results/tables/measures.csv")
    assert measures["accuracy"].tolist()[:2] == [each.mean() for each in right]
    assert (measures["low"][0], measures["high"][0]) == pytest.approx(tuple(wilson))
    squares = (first["confidence"] - right[0]) ** 2
    assert measures["brier"][0] == pytest.approx(squares.mean(), abs=1e-6)
    baseline = "results/baselines/dataset=imdb-25k/text=full/predictions.parquet"
    full = pd.read_parquet(study.folder / baseline)
    right_full = full["label"] == full["prediction"]
    table = pd.read_csv(study.folder / "results/tables/comparisons.csv")
    (row,) = table.query("first == 'TF-IDF, full text' and second == 'bert'").to_dict("records")
    assert row["difference"] == pytest.approx(right[0].mean() - right_full.mean())
    alone = (right_full & ~right[0]).sum(), (~right_full & right[0]).sum()
    assert row["p"] == pytest.approx(binomtest(alone[0], sum(alone)).pvalue)


def test_baselines_read_what_the_encoders_see(study):
    tests = {
        text: json.loads(study.read(f"results/baselines/dataset=imdb-25k/text={text}/test.json"))
        for text in ("full", *(f"seen-by-{name}/{SEEN}" for name in ("bert", "modernbert")))
    }
    assert {test["n"] for test in tests.values()} == {200}
    encoder = study.folder / "results/encoders/dataset=imdb-25k/model=bert"
    seen = seen_texts(["One two. " * 90, "Short."], encoder, Cut(32, "auto"))
    assert seen[1] == "Short." and len(seen[0]) < 200 and ("One two. " * 90).startswith(seen[0])
    tokens = load_tokenizer(encoder)(["One two. " * 90], truncation=True, max_length=32)
    assert load_tokenizer(encoder)(seen[:1])["input_ids"] == tokens["input_ids"]


def test_maps_and_attention_are_the_same_again(study, tmp_path, monkeypatch):
    monkeypatch.chdir(study.folder)
    call(explain, study.flags("explain").replace("--out results/tables", f"--out {tmp_path}"))
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (study.folder / "results/tables" / path.name).read_bytes()


def test_a_new_export_has_predictions_timed_again_alone(study, python):
    exported = study.folder / BASE / "onnx" / "model.onnx"
    exported.parent.mkdir()
    exported.write_bytes(b"")
    plan = study.jobs(python, SUMMARY, "-n", "--configfile", "study.yaml")
    shutil.rmtree(exported.parent)
    assert set(plan) == {"latency", "draw", "summary"}


def test_maps_show_the_same_reviews_and_attention_sums_to_one(study):
    places = pd.read_csv(study.folder / "results/tables/tsne.csv")
    assert places.groupby("model")["id"].apply(tuple).nunique() == 1
    weights = pd.read_csv(study.folder / "results/tables/attention.csv")
    rows = weights.groupby(["model", "query"])["weight"].sum()
    assert rows.to_numpy() == pytest.approx(1, abs=1e-5)


def block(study, language: str, number: int = 1) -> str:
    """Code of docs/results.md."""
    return study.read("docs/results.md").split(f"```{language}\n")[number].partition("```")[0]


def of_models(study, heading: str) -> str:
    """A section of docs/models.md."""
    return study.read("docs/models.md").partition(f"## {heading}\n")[2].partition("\n## ")[0]


def test_libraries_load_a_run_as_the_documents_say(study, monkeypatch):
    monkeypatch.chdir(study.folder / BASE)
    names = {}
    exec(of_models(study, "In every library").split("```python\n")[1].partition("```")[0], names)
    assert names["logits"].shape == (2, 2) and names["vectors"].shape[1] > 2


def test_texts_are_labelled_as_the_documents_say(study, python, monkeypatch, capsys):
    section = of_models(study, "Labelling texts")
    lines = re.findall(r"^    (.+)$", section.partition("```python")[0], re.MULTILINE)
    assert len(lines) == 4
    script = "\n".join(lines).replace("python ", f"{python} ")
    done = subprocess.run(["bash", "-ec", script], cwd=study.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["label"] in {*told["probabilities"]} == {"negative", "positive"}
    labelled = pd.read_parquet(study.folder / "labelled.parquet")
    assert labelled["label"].isna().tolist() == [False, True, False]
    assert "1 text has no label" in done.stderr
    monkeypatch.chdir(study.folder)
    names = {}
    exec(section.split("```python\n")[1].partition("```")[0], names)
    assert names["reviews"]["label"].tolist() == labelled["label"].dropna().tolist()
    assert "negative" in capsys.readouterr().out


def test_a_run_is_exported_as_the_documents_say(study, python):
    section = of_models(study, "As ONNX")
    install, *lines = re.findall(r"^    (.+)$", section, re.MULTILINE)
    assert install == "pip install -r envs/export.txt" and len(lines) == 4
    script = "\n".join(lines).replace("python ", f"{python} ")
    done = subprocess.run(["bash", "-ec", script], cwd=study.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["label"] in ("negative", "positive")
    sizes = [
        (study.folder / BASE / name / "model.onnx").stat().st_size for name in ("onnx", "onnx-int8")
    ]
    assert sizes[0] > sizes[1] > 0
    for name in ("onnx", "onnx-int8"):
        shutil.rmtree(study.folder / BASE / name)  # which latency would time


def test_pandas_reads_all_predictions_as_the_documents_say(study, monkeypatch, capsys):
    monkeypatch.chdir(study.folder)
    names = {}
    exec(block(study, "python"), names)
    columns = ["model", "pooling", "batch", "variant"]
    sizes = names["predictions"].groupby(columns, observed=True).size()
    assert sizes.to_dict() == {run[:4]: 200 for run in RUNS}
    assert "modernbert" in capsys.readouterr().out


def test_duckdb_reads_all_predictions_as_the_documents_say(study, monkeypatch):
    monkeypatch.chdir(study.folder)
    keys = ["model", "pooling", "batch", "variant"]
    found = duckdb.sql(block(study, "sql")).df().set_index(keys)
    table = pd.read_csv("results/tables/runs.csv").set_index(keys)
    assert found["accuracy"].to_dict() == pytest.approx(table["accuracy"].to_dict())


def test_tracking_is_offline_and_per_run(study):
    runs = list((study.folder / "results/wandb").glob("offline-run-*"))
    assert len(runs) >= len(RUNS)
    assert "tracking failed" not in study.read(f"{BASE}/train.log".replace("runs", "logs", 1))


def test_a_second_call_does_nothing(study, python):
    assert nothing_to_do(study, python, SUMMARY, "--configfile", "study.yaml")
    assert nothing_to_do(study, python, "--configfile", "study.yaml")


def test_tracking_reruns_nothing(study, python):
    def change(config):
        config["tracking"] = {"mode": "disabled", "project": "another"}

    config = study.write_config("changed.yaml", change)
    assert nothing_to_do(study, python, SUMMARY, "--configfile", config)


def test_the_order_of_keys_and_written_defaults_rerun_nothing(study, python):
    def reverse(value):
        if isinstance(value, dict):
            return {key: reverse(value[key]) for key in reversed(value)}
        return value

    config = reverse(yaml.safe_load(study.read("study.yaml")))
    config["training"]["optimizer"] = "adam"
    text = yaml.safe_dump(config, sort_keys=False)
    (study.folder / "changed.yaml").write_text(text)
    assert nothing_to_do(study, python, SUMMARY, "--configfile", "changed.yaml")


def test_one_run_asked_for_by_its_path_trains_one_run(study, python):
    target = RUN.format("bert", "max", 16, "base", 9) + "/test.json"
    jobs = study.jobs(python, target, "--cores", "1", "--configfile", "study.yaml")
    assert jobs == {"train": 1, "evaluate": 1}
    assert json.loads(study.read(target))["n"] == 200


def test_a_model_card_that_is_written_later_makes_nothing_run_again(study, python):
    checkpoint = study.folder / BASE / "checkpoint"
    before = checkpoint.stat().st_mtime_ns
    amend(checkpoint, "README.md", study.read(f"{BASE}/checkpoint/README.md"))
    assert checkpoint.stat().st_mtime_ns > before
    assert nothing_to_do(study, python, "--configfile=study.yaml")


def test_training_and_test_in_another_process_give_identical_bytes(study, tmp_path, monkeypatch):
    monkeypatch.chdir(study.folder)
    for command in (train, evaluate):
        flags = study.flags(command.__name__, of=BASE)
        call(command, flags.replace(f"--run {BASE}", f"--run {tmp_path}"))
    for file in ("predictions.parquet", "checkpoint/model.safetensors", "test.json"):
        assert (tmp_path / file).read_bytes() == (study.folder / BASE / file).read_bytes()


def test_a_changed_learning_rate_retrains_and_does_not_tokenize_again(study, python):
    def change(config):
        config["training"]["learning_rate"] = 2e-3

    config = study.write_config("changed.yaml", change)
    jobs = study.jobs(python, SUMMARY, "-n", "--configfile", config)
    assert jobs == {"train": 2, "evaluate": 2, **FROM_RUNS}


@pytest.mark.parametrize(
    ("key", "value", "first"),
    [
        ("max_length", 24, "train"),
        ("variants", {"base": {}, "decayed": {"max_length": 32}}, "train"),
        ("variants", {"base": {}, "decayed": {"truncation": "tail"}}, "train"),
        ("split", {"ratios": [4, 1, 1], "seed": 8}, "split"),
        ("variants", {"base": {}, "decayed": {"scheduler": "linear"}}, "train"),
    ],
)
def test_a_changed_setting_reruns_what_depends_on_it(study, python, key, value, first):
    config = study.write_config("changed.yaml", lambda config: config.update({key: value}))
    jobs = study.jobs(python, SUMMARY, "-n", "--configfile", config)
    order = ["download", "split", "encoder", "pretokenize", "train", "evaluate", "collect"]
    rerun = [rule for rule in order if rule in jobs]
    assert rerun[0] == first
    if key == "variants":
        assert jobs["train"] == 1


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("checkpoint", {"train": 1, "evaluate": 1}),
        ("history.csv", {"train": 1, "evaluate": 1}),
        ("predictions.parquet", {"evaluate": 1}),
    ],
)
def test_a_deleted_file_of_a_run_is_made_again_with_all_that_is_made_from_it(
    study, python, name, jobs
):
    path = study.folder / BASE / name
    aside = path.rename(study.folder / name)
    found = study.jobs(python, "-n", "--configfile=study.yaml")
    aside.rename(path)
    assert found == jobs | FROM_RUNS
    assert nothing_to_do(study, python, "--configfile", "study.yaml")


def test_code_that_decides_results_reruns_them_by_its_content_alone(study, python):
    path = study.folder / "scripts/lib/training/loop.py"
    source = path.read_text()
    path.write_text(source)  # later than all results
    assert nothing_to_do(study, python, "--configfile", "study.yaml")
    path.write_text(f"{source}CHANGED = True\n")
    jobs = study.jobs(python, "-n", "--configfile", "study.yaml")
    path.write_text(source)
    assert jobs == {"train": 2, "evaluate": 2, **FROM_RUNS}


@pytest.mark.slow
def test_pages_are_made_without_torch(study, python):
    lines = [study.command(name) for name in ("collect", "analyse", "draw", "summary")]
    code = (
        "import runpy, sys; sys.path.insert(0, 'scripts')\n"
        f"for line in {[shlex.split(line) for line in lines]!r}:\n"
        "    sys.argv = line; runpy.run_path(sys.argv[0], run_name='__main__')\n"
        "    assert 'torch' not in sys.modules, line"
    )
    done = subprocess.run([python, "-c", code], cwd=study.folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
