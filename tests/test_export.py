"""Exports to ONNX: what they give beside checkpoints, and those that are refused."""

import json
import re
import shutil
import sys

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import CUT, call, make_run
from families import FAMILIES, reweigh
from huggingface_hub import ModelCard
from onnx import numpy_helper
from statsmodels.stats.contingency_tables import mcnemar

import export
import predict
from lib.command.console import UserError
from lib.files.manifests import sha256, verify
from lib.files.predictions import read_predictions
from lib.training import export as exporting
from lib.training.checkpoints import load_checkpoint, new_classifier, save_checkpoint
from lib.training.export import Found
from lib.training.graph import Graph, write_graph
from lib.training.inference import TextClassifier
from lib.training.modules import HEAD_WEIGHTS
from lib.training.poolings import NAMES

SHORT = ["A fine film.", "So-so", "not bad at all, was it?", "!"]
LONG = [*SHORT, "Two hours of nothing. " + "Dull, and long " * 30 + "Never again!"]
SHAPES = ((1, 5), (3, 24), (5, 48), (2, 2), (1, 1))  # of passes: texts, tokens
POOLED = [
    *(("bert", pooling) for pooling in NAMES),
    *(("modernbert", pooling) for pooling in NAMES if pooling != "pooler"),
]
NO_GRAPH = {"longformer", "xlnet"}  # families of which torch makes none


@pytest.fixture(scope="module")
def run_of(encoders, tokens, splits, tmp_path_factory):
    """Makes a finished run in the results of a study, which are laid out as any."""
    results = tmp_path_factory.mktemp("study") / "results"
    shutil.copytree(splits, results / "datasets" / "d" / "splits")

    def make(model, pooling, truncation="auto"):
        keys = f"model={model}/pooling={pooling}/batch=20/variant={truncation}/seed=1"
        run = results / "runs" / "dataset=d" / keys
        if not run.exists():
            flags = f"--model {model} --pooling {pooling} --truncation {truncation} --batch 20 "
            flags += "--epochs 4 --max-length 48 --learning-rate 3e-3 --labels negative positive"
            make_run(run, tokens[model], encoders[model], flags)
        return run

    return make


@pytest.fixture(scope="module")
def bert(run_of):
    """A run with both of its exports."""
    run = run_of("bert", "masked-mean")
    for flags in ("", "--int8"):
        call(export, f"{run} {flags} --threads 1")
    return run


@pytest.fixture(scope="module")
def padded(run_of):
    """A run whose padding counts, and that sees both ends of texts, with its export."""
    run = run_of("modernbert", "padded-mean", "head-tail")
    call(export, f"{run}")
    return run


def texts_of(run):
    path = run.parents[6] / "datasets" / "d" / "splits" / "test.parquet"
    return pd.read_parquet(path).set_index("id")["text"]


def known_of(run):
    """The labels and probabilities of the test of a run, by text."""
    tested = pd.read_parquet(run / "probabilities.parquet", partitioning=None).set_index("id")
    return read_predictions(run)["prediction"], tested


def agrees_with_the_test(run, folder, batch):
    prediction, tested = known_of(run)
    texts = texts_of(run).loc[tested.index]
    classify = TextClassifier(folder)
    found = [label.label for label in classify(texts, batch)]
    assert found == prediction.map({0: "negative", 1: "positive"}).tolist()
    chances = classify.probabilities(texts, batch)
    np.testing.assert_allclose(chances.to_numpy(), tested.to_numpy(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 40])
@pytest.mark.parametrize("kind", ["bert", "padded"])
def test_an_export_gives_what_the_test_gave(request, kind, batch):
    run = request.getfixturevalue(kind)
    agrees_with_the_test(run, run / "onnx", batch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "pooling", "truncation"),
    [*((*each, "auto") for each in POOLED), ("bert", "masked-mean", "tail")],
)
def test_an_export_of_each_pooling_gives_what_the_test_gave(run_of, model, pooling, truncation):
    run = run_of(model, pooling, truncation)
    call(export, f"{run}")
    agrees_with_the_test(run, run / "onnx", 7)
    assert card_gives(run / "onnx", LONG) == pytest.approx(
        given(run / "checkpoint", LONG), abs=1e-5
    )
    call(export, f"{run} --int8")


def given(folder, texts):
    return TextClassifier(folder, "cpu", "fp32").probabilities(texts).to_numpy()


def card_gives(folder, texts):
    """What the Python of a card gives, run as it stands."""
    (code,) = re.findall(r"^```python\n(.*?)^```$", (folder / "README.md").read_text(), re.M | re.S)
    names = {"folder": str(folder), "texts": texts}
    exec(code, names)
    return names["probabilities"]


@pytest.fixture
def checkpoint(shallow, tmp_path):
    """Makes a checkpoint of random weights that tell texts apart, of three classes."""

    def make(encoder, pooling):
        torch.manual_seed(2)
        model = new_classifier(shallow.get(encoder, encoder), pooling, 3, 0.1, ["a", "b", "c"])
        torch.nn.init.normal_(model.head.weight)
        model.temperature = 1.6
        folder = tmp_path / pooling
        save_checkpoint(model, shallow.get(encoder, encoder), folder, CUT)
        return folder

    return make


def batch(config, texts, tokens, types):
    """Inputs of a shape, of texts that are shorter and shorter."""
    lengths = tokens - tokens // texts * torch.arange(texts)
    mask = torch.arange(tokens) < lengths[:, None]
    ids = torch.randint(8, config.vocab_size, mask.shape).masked_fill(~mask, config.pad_token_id)
    inputs = {"input_ids": ids}
    if types:
        kinds = getattr(config, "type_vocab_size", 2) or 1  # DeBERTa has none, and is given zeros
        inputs["token_type_ids"] = torch.randint(0, kinds, mask.shape) * mask
    return inputs if mask.all() else inputs | {"attention_mask": mask}


@torch.no_grad()
def compare(folder, types):
    """Write the graph of a checkpoint beside it, and compare both at several shapes.

    Their probabilities are those at the temperature, and depend on the text.
    """
    model = load_checkpoint(folder)
    inputs = [batch(model.encoder.config, *shape, types) for shape in SHAPES]
    expected = [model.chances(each) for each in inputs]
    write_graph(model, types, CUT.max_length, folder / "model.onnx")
    classify = TextClassifier(folder)
    for each, chances in zip(inputs, expected, strict=True):
        torch.testing.assert_close(classify.model.chances(each), chances, rtol=0, atol=1e-5)
    found, plain = torch.cat(expected), torch.cat([model(each).softmax(dim=-1) for each in inputs])
    assert found.std(dim=0).min() > 1e-4 and (found - plain).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("architecture", "pooling"),
    [*(("bert", pooling) for pooling in ("cls", "max", "pooler", "head")), ("modernbert", "head")],
)
def test_a_graph_of_each_pooling_gives_probabilities_at_any_shape(
    checkpoint, architecture, pooling
):
    folder = checkpoint(architecture, pooling)
    compare(folder, architecture == "bert")
    names = [each.name for each in TextClassifier(folder).model.session.get_inputs()]
    types = ["token_type_ids"] * (architecture == "bert")
    assert names == ["input_ids", "attention_mask", *types]


def test_padding_that_sees_no_text_is_as_in_torch(made, checkpoint):
    folder = checkpoint(made("modernbert", local_attention=8), "padded-mean")
    reweigh(folder, lambda weights: {name: x * 6 ** (x.ndim - 1) for name, x in weights.items()})
    compare(folder, False)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - NO_GRAPH))
def test_a_graph_of_a_family_gives_its_probabilities(family, made, checkpoint):
    folder = checkpoint(made(family), "masked-mean")
    compare(folder, load_checkpoint(folder).takes_types)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - NO_GRAPH - {"splinter"}))
def test_a_graph_of_a_family_with_its_own_head_gives_its_probabilities(family, made, checkpoint):
    folder = checkpoint(made(family), "head")
    compare(folder, load_checkpoint(folder).takes_types)


@pytest.mark.parametrize("family", ["longformer", pytest.param("xlnet", marks=pytest.mark.slow)])
def test_a_family_without_a_graph_is_refused_in_a_line(family, made, checkpoint, capfd):
    folder = checkpoint(made(family), "masked-mean")
    message = rf"^{family} can't become a graph of ONNX \([^\n]+\); use the checkpoint as it is$"
    with pytest.raises(UserError, match=message):
        write_graph(load_checkpoint(folder), False, 48, folder / "model.onnx")
    assert not (folder / "model.onnx").exists()
    assert capfd.readouterr() == ("", "")


def test_rounded_weights_are_smaller_and_the_embeddings_stay(bert):
    files = {form: bert / form / "model.onnx" for form in ("onnx", "onnx-int8")}
    sizes = {form: path.stat().st_size for form, path in files.items()}
    assert sizes["onnx-int8"] < sizes["onnx"]
    weights = {
        form: {each.name: numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer}
        for form, path in files.items()
    }
    floats = {name for name, x in weights["onnx"].items() if x.dtype == np.float32 and x.ndim == 2}
    embeddings = {name for name in floats if "embeddings" in name}
    assert len(embeddings) == 3 and floats - embeddings
    for name in embeddings:
        assert np.array_equal(weights["onnx"][name], weights["onnx-int8"][name])
    assert not weights["onnx-int8"].keys() & (floats - embeddings)
    rounded = [x for x in weights["onnx-int8"].values() if x.dtype == np.int8 and x.ndim == 2]
    assert len(rounded) == len(floats - embeddings)
    assert max(np.abs(x.astype(int)).max() for x in rounded) <= 64  # seven bits
    scales = [x for name, x in weights["onnx-int8"].items() if name.endswith("_scale") and x.ndim]
    assert {x.shape for x in scales} >= {(32,), (64,)}  # one for each column


def test_a_folder_tells_what_it_was_made_of_and_what_was_found(bert):
    prediction, tested = known_of(bert)
    accuracy = json.loads((bert / "test.json").read_text())["accuracy"]
    checkpoint = bert / "checkpoint"
    for form, folder in (("float32", bert / "onnx"), ("int8", bert / "onnx-int8")):
        verify(folder)
        told = json.loads((folder / "export.json").read_text())
        assert told["form"] == form
        assert told["opset"] == onnx.load(folder / "model.onnx").opset_import[0].version
        assert told["versions"]["onnxruntime"] and told["versions"]["torch"] == torch.__version__
        assert told["checkpoint"]["model.safetensors"] == sha256(checkpoint / "model.safetensors")
        assert told["checkpoint"][HEAD_WEIGHTS] == sha256(checkpoint / HEAD_WEIGHTS)
        texts = texts_of(bert).loc[tested.index]
        chances = given(folder, texts)
        largest = np.abs(chances - tested.to_numpy()).max()
        other = int((chances.argmax(axis=1) != prediction).sum())
        check = told["check"]
        assert check["texts"] == 40 and check["accuracy"] == accuracy
        assert check["largest_difference"] == pytest.approx(largest, abs=2e-6)
        assert check["other_labels"] == other
        label = read_predictions(bert)["label"]
        assert check["export_accuracy"] == (chances.argmax(axis=1) == label).mean()
    names = {path.name for path in (bert / "onnx").iterdir()}
    assert names == {
        *("README.md", "config.json", "export.json", "head.json", "model.onnx"),
        *("tokenizer.json", "tokenizer_config.json"),
    }
    assert not list(bert.glob(".*.tmp"))


def test_no_file_tells_a_path_of_the_machine(bert, padded):
    for folder in (bert / "onnx", bert / "onnx-int8", padded / "onnx"):
        for path in folder.iterdir():
            content = path.read_bytes()
            assert b"site-packages" not in content and b"scripts/lib" not in content, path
            assert str(bert.parents[7]).encode() not in content, path


def test_the_card_is_that_of_the_checkpoint_and_its_python_gives_the_probabilities(bert, padded):
    for folder, texts in ((bert / "onnx", LONG), (padded / "onnx", SHORT)):
        expected = given(folder.parent / "checkpoint", texts)
        np.testing.assert_allclose(card_gives(folder, texts), expected, rtol=0, atol=1e-5)
        check = json.loads((folder / "export.json").read_text())["check"]
        text = (folder / "README.md").read_text()
        assert "| Compared on | 40 texts of the test split |" in text
        assert f"| Accuracy of the export | {check['export_accuracy']:.4f} |" in text
        assert (
            f"| Largest difference of a probability | {check['largest_difference']:.2g} |" in text
        )
        assert "## Training" in text and "## Use" not in text and "SentenceTransformer" not in text
        cards = (folder / "README.md", folder.parent / "checkpoint" / "README.md")
        data, old = (ModelCard.load(path).data for path in cards)
        assert (data.library_name, data.pipeline_tag) == ("onnx", "text-classification")
        assert data.eval_results == old.eval_results and data.tags == old.tags
    assert "padded to 48 tokens" in text and "keeps another part" in text
    rounded = bert / "onnx-int8" / "README.md"
    assert ModelCard.load(rounded).data.eval_results is None
    assert "rounded to 8-bit integers" in rounded.read_text()


def test_the_command_reads_a_folder_and_computes_on_the_cpu_alone(bert, capsys):
    call(predict, f"{bert}/onnx --text good bad --threads 1")
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    expected = [
        label._asdict() for label in TextClassifier(bert / "checkpoint", "cpu")(["good", "bad"])
    ]
    for line, label in zip(found, expected, strict=True):
        assert line["label"] == label["label"]
        assert line["confidence"] == pytest.approx(label["confidence"], abs=1e-5)
    for flags, said in (
        ("--device cuda", "device is cuda"),
        ("--precision bf16", "precision is bf16"),
    ):
        with pytest.raises(UserError, match=f"^an export computes [^\n]+ {said}; set it to auto"):
            call(predict, f"{bert}/onnx --text good {flags}")


@pytest.fixture
def fresh(bert, tmp_path):
    """The run without exports, in results of its own; and its exports elsewhere."""
    results = tmp_path / "results"
    shutil.copytree(bert.parents[6], results)
    run = results / bert.relative_to(bert.parents[6])
    for name in ("onnx", "onnx-int8"):
        shutil.rmtree(run / name)
        (run / f".{name}.sha256").unlink()
    return run


def damaged(source, change):
    """What writes the graph of an earlier export, with other weights."""

    def write(*arguments):
        graph = onnx.load(source)
        for each in graph.graph.initializer:
            weights = numpy_helper.to_array(each)
            if weights.ndim == 2 and weights.shape[0] > 3 and "embeddings" not in each.name:
                each.CopyFrom(numpy_helper.from_array(change(weights), each.name))
        onnx.save(graph, arguments[-1])

    return write


def noise(weights):
    drawn = np.random.default_rng(1).normal(0, 40, weights.shape)
    return drawn.clip(-127, 127).astype(weights.dtype)


@pytest.mark.parametrize(
    ("flags", "form", "change"),
    [
        ("", "float32", lambda weights: weights * np.float32(1.2)),
        ("", "float32", lambda weights: weights * np.float32("nan")),
        ("--int8", "int8", noise),
    ],
    ids=["scaled", "nan", "noise"],
)
def test_an_export_that_gives_something_else_is_not_kept(
    bert, fresh, monkeypatch, flags, form, change
):
    name = "onnx-int8" if flags else "onnx"
    intact = damaged(bert / "onnx" / "model.onnx", lambda weights: weights)
    write = damaged(bert / name / "model.onnx", change)
    monkeypatch.setattr(exporting, "write_graph", intact if flags else write)
    if flags:
        monkeypatch.setattr(exporting, "round_weights", write)
    before = sorted(fresh.iterdir())
    with pytest.raises(
        UserError, match=rf"^the export of '[^\n]+' in {form} gives something else: "
    ):
        call(export, f"{fresh} {flags}")
    assert sorted(fresh.iterdir()) == before


def test_a_graph_that_sees_padding_is_refused_however_long_the_texts_are(
    fresh, monkeypatch, tmp_path
):
    def forward(self, input_ids, attention_mask, token_type_ids=None):
        types = {} if token_type_ids is None else {"token_type_ids": token_type_ids}
        mask = torch.ones_like(attention_mask).bool()
        return self.model.chances({"input_ids": input_ids, "attention_mask": mask} | types)

    monkeypatch.setattr(Graph, "forward", forward)
    texts = [f"{word} film, {word} indeed, " * 60 for word in ("good", "bad")]  # all are cut
    pd.DataFrame({"text": texts, "label": [0, 1]}).to_parquet(tmp_path / "long.parquet")
    with pytest.raises(UserError, match="gives something else: "):
        call(export, f"{fresh} --reviews {tmp_path}/long.parquet")
    assert not (fresh / "onnx").exists()


def test_an_export_of_a_run_that_was_trained_again_is_refused(bert, fresh):
    shutil.copytree(bert / "onnx", fresh / "onnx")
    assert TextClassifier(fresh / "onnx")(["good"])
    head = json.loads((fresh / "checkpoint" / "head.json").read_text())
    (fresh / "checkpoint" / "head.json").write_text(json.dumps(head | {"temperature": 3.0}))
    with pytest.raises(UserError, match=r"is of another checkpoint than .* export that again"):
        TextClassifier(fresh / "onnx")


def test_a_folder_of_another_tool_is_left_alone(fresh, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.onnx").write_bytes(b"of another tool")
    with pytest.raises(UserError, match="holds no export; name another folder with --out"):
        call(export, f"{fresh} --out {tmp_path}/other")
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["model.onnx"]


def test_a_graph_that_does_not_run_is_refused_in_a_line(bert, fresh, monkeypatch):
    def write(*arguments):
        graph = onnx.load(bert / "onnx" / "model.onnx")
        for each in graph.graph.initializer:
            if "word_embeddings" in each.name:
                each.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(each)[:9], each.name))
        onnx.save(graph, arguments[-1])

    monkeypatch.setattr(exporting, "write_graph", write)
    with pytest.raises(UserError, match=r"^'[^\n]+model.onnx' fails in onnxruntime, at [^\n]+$"):
        call(export, f"{fresh}")
    assert not (fresh / "onnx").exists()


def found_of(right, lost, won, neither=0):
    """What is found where the checkpoint is right on some texts, of which an export loses some.

    Args:
        right: texts on which both are.
        lost: on which the checkpoint alone is.
        won: on which the export alone is.
        neither: on which none is, of three classes, and which they label otherwise.
    """
    counts = (right, lost, won, neither)
    first, second = (np.repeat(labels, counts) for labels in ([0, 0, 1, 1], [0, 1, 0, 2]))
    return Found.of(np.eye(3)[first], np.eye(3)[second], np.zeros(sum(counts), int))


def test_what_is_found_is_what_statistics_tell():
    found = found_of(70, 9, 2, 19)
    assert found[:5] == (100, 1.0, 30, 0.79, 0.72)
    assert found.p == pytest.approx(mcnemar([[70, 9], [2, 19]], exact=True).pvalue)
    assert found_of(5, 0, 0).p == 1


@pytest.mark.parametrize(
    ("kept", "counts"),
    [
        (True, (40, 0, 0)),
        (True, (992, 8, 0)),  # significant, but less than a point
        (False, (980, 20, 0)),
        (True, (950, 35, 20)),  # more than a point, but not significant
        (True, (38, 2, 0)),  # of few texts
        (False, (35, 2, 3)),  # no loss, but more than a tenth have other labels
        (False, (880, 0, 0, 120)),
        (True, (900, 0, 100)),
    ],
)
def test_rounded_weights_may_cost_little(kept, counts):
    assert found_of(*counts).is_of("int8") is kept


@pytest.mark.parametrize(
    ("kept", "difference"), [(True, 9e-4), (False, 1.1e-3), (False, float("nan"))]
)
def test_a_probability_in_float32_may_differ_little(kept, difference):
    chances = np.tile([0.7, 0.3], (4, 1))
    found = Found.of(chances, chances - difference * np.eye(4, 2), np.zeros(4, int))
    assert found.is_of("float32") is kept
    assert found.is_of("int8") is bool(np.isfinite(difference))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_told_in_a_line(bert, fresh, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    message = f"^an export needs {package}, which is not .*; pip install -r envs/export.txt$"
    with pytest.raises(UserError, match=message):
        call(export, f"{fresh}")
    if package == "onnxruntime":
        with pytest.raises(UserError, match=message):
            TextClassifier(bert / "onnx")
    assert TextClassifier(fresh / "checkpoint", "cpu")("good")


def test_what_was_damaged_is_told(bert, fresh):
    shutil.copytree(bert / "onnx", fresh / "onnx")
    shutil.copy(bert / ".onnx.sha256", fresh / ".onnx.sha256")
    path = fresh / "onnx" / "model.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    advice = "check its path, or write it again$"
    with pytest.raises(UserError, match=f"model.onnx' is damaged, [^\n]+; {advice}"):
        TextClassifier(fresh / "onnx")
    path.unlink()
    with pytest.raises(UserError, match=f"model.onnx' is missing; {advice}"):
        TextClassifier(fresh / "onnx")
    (fresh / ".onnx.sha256").unlink()
    path.write_bytes(b"no graph")
    with pytest.raises(UserError, match=f"model.onnx can't be used: [^\n]+; {advice}"):
        TextClassifier(fresh / "onnx")


def test_texts_of_ones_own_and_another_folder_may_be_named(bert, fresh, monkeypatch, tmp_path):
    intact = damaged(bert / "onnx" / "model.onnx", lambda weights: weights)
    monkeypatch.setattr(exporting, "write_graph", intact)
    table = pa.table({"id": [1, 2], "text": ["good", "bad"], "label": [1, 0]})
    pq.write_table(table, tmp_path / "mine.parquet")
    lone = tmp_path / "lone"
    shutil.move(fresh, lone)
    with pytest.raises(UserError, match=r"lies in no results/runs/, [^\n]+ with --reviews$"):
        call(export, f"{lone}")
    for _ in range(2):  # the second takes the place of the first
        call(export, f"{lone} --reviews {tmp_path}/mine.parquet --out {tmp_path}/out")
    assert "| Compared on | 2 labelled texts |" in (tmp_path / "out" / "README.md").read_text()
    assert not (lone / "onnx").exists()
    with pytest.raises(UserError, match="is there, and holds no export; name another folder"):
        call(export, f"{lone} --reviews {tmp_path}/mine.parquet --out {lone}")
    assert (lone / "checkpoint").is_dir()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"text": ["good"]}, "label"),
        ({"text": ["good"], "label": ["positive"]}, "numbers of classes in `label`"),
        ({"text": ["good"], "label": [2]}, "not the classes 0 to 1 of the run"),
        ({"text": ["good"], "label": [-1]}, "not the classes 0 to 1 of the run"),
        ({"text": ["good", None], "label": [0, 1]}, "rows that lack one"),
        ({"text": pa.array([], pa.string()), "label": pa.array([], pa.int8())}, "holds no texts"),
    ],
)
def test_other_texts_are_refused_in_a_line(fresh, tmp_path, columns, said):
    pq.write_table(pa.table(columns), tmp_path / "mine.parquet")
    with pytest.raises(UserError, match=f"^'{tmp_path}/mine.parquet' can't be read: [^\n]*{said}"):
        call(export, f"{fresh} --reviews {tmp_path}/mine.parquet")


def test_a_run_that_is_not_finished_is_refused_in_a_line(fresh, tmp_path):
    with pytest.raises(UserError, match=r"holds no checkpoint; name the folder of a finished run$"):
        call(export, f"{tmp_path}")
    (fresh / "checkpoint" / "README.md").unlink()
    with pytest.raises(UserError, match=r"README.md' is missing; make it again: [^\n]+$"):
        call(export, f"{fresh}")
