"""The model card of a run: what the Hugging Face hub and its readers are told of a checkpoint."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from scipy.stats import binomtest

from lib.command.markup import escape
from lib.data.cutting import HEAD, HEAD_TAIL, TAIL
from lib.study.schema import keys_that, word
from lib.training.poolings import OWN_HEAD

FILE = "README.md"
TOLD = (  # what it needs of train.json, besides the keys of the run
    *(
        "best_epoch",
        "valid_accuracy",
        "learned",
        "chance_p",
        "chance_level",
        "diverged",
        "updates",
        "parameters",
    ),
    *("learning_rate", "settings", "encoder", "tokens_sha256"),
    *("truncation", "first_tokens", "last_tokens"),
    *("hardware", "precision", "backend", "versions", "workflow"),
)
TASK = "text-classification"
MEASURES = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "loss": "Loss"}
METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "loss": "loss"}  # by the names of the hub

# pooling -> what it is, and its lines in the snippet
POOLINGS = {
    "cls": ("the state of the first token", "vectors = states[:, 0]"),
    "padded-mean": (
        "the mean over all positions, padding included",
        "vectors = states.mean(dim=1)",
    ),
    "masked-mean": (
        "the mean over all tokens, without padding",
        'mask = inputs["attention_mask"].unsqueeze(-1)\n'
        "vectors = (states * mask).sum(dim=1) / mask.sum(dim=1)",
    ),
    "max": (
        "the maximum over all tokens, without padding, per dimension",
        'padding = inputs["attention_mask"].unsqueeze(-1) == 0\n'
        "vectors = states.masked_fill(padding, torch.finfo(states.dtype).min).amax(dim=1)",
    ),
    "pooler": ("the encoder's own pooler", "vectors = outputs.pooler_output"),
    OWN_HEAD: ("what the classifier of its architecture has before the last layer", ""),
}
KEPT = {  # by truncation
    HEAD: "the first",
    TAIL: "the last",
    HEAD_TAIL: "the first quarter of them and the last three",
}
SNIPPET = """\
import inspect

import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

folder = "."
texts = ["A text to label.", "Another one."]

torch.set_grad_enabled(False)
tokenizer = AutoTokenizer.from_pretrained(folder)
encoder = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
head = torch.nn.Linear(encoder.config.hidden_size, encoder.config.num_labels)
head.load_state_dict(load_file(f"{folder}/head.safetensors"))

INPUTS
taken = inspect.signature(encoder.forward).parameters
outputs = encoder(**{name: values for name, values in inputs.items() if name in taken})
states = outputs.last_hidden_state
POOLED
probabilities = head(vectors).softmax(dim=-1)
for text, row in zip(texts, probabilities):
    print(f"{encoder.config.id2label[int(row.argmax())]} {row.max():.4f} {text}")"""

OWN_SNIPPET = """\
from transformers import pipeline

folder = "."
texts = ["A text to label.", "Another one."]

classify = pipeline("text-classification", model=folder)
for text, found in zip(texts, classify(texts, truncation=True)):
    print(f"{found['label']} {found['score']:.4f} {text}")"""
OWN_SNIPPET_ENDS = """\
import inspect

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

folder = "."
texts = ["A text to label.", "Another one."]

torch.set_grad_enabled(False)
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32).eval()

INPUTS
taken = inspect.signature(model.forward).parameters
outputs = model(**{name: values for name, values in inputs.items() if name in taken})
probabilities = outputs.logits.softmax(dim=-1)
for text, row in zip(texts, probabilities):
    print(f"{model.config.id2label[int(row.argmax())]} {row.max():.4f} {text}")"""

TOKENIZE = """\
inputs = tokenizer(
    texts,
    truncation=True,
    max_length=MAX_LENGTH,
    padding=PADDING,
    padding_side="right",
    return_attention_mask=True,
    return_tensors="pt",
)"""
TOKENIZE_ENDS = """\
def cut(row):
    return row if len(row) <= MAX_LENGTH else row[:FIRST] + row[len(row) - LAST :]

whole = tokenizer(texts, return_attention_mask=True)
inputs = tokenizer.pad(
    {name: [cut(row) for row in rows] for name, rows in whole.items()},
    max_length=WIDTH,
    padding=PADDING,
    padding_side="right",
    return_attention_mask=True,
    return_tensors="pt",
)"""


def model_card(trained: Mapping[str, Any], tested: Mapping[str, Any], labels: Sequence[str]) -> str:
    """The model card of a run, as Markdown with a block of metadata.

    Args:
        trained: what train.json tells.
        tested: what test.json tells; a loss may be NaN.
        labels: names of the classes.
    """
    metadata = describe(trained, tested).to_yaml()
    choose_by = trained["settings"]["choose_by"].replace("_", " ").replace("f1", "F1")
    parts = [
        f"---\n{metadata}\n---",
        f"# {escape(name_of(trained))}",
        introduction(trained),
        "## Model",
        table(["", ""], model_facts(trained)),
        table(["Class", "Label"], enumerate(labels)),
        "## Results",
        table(["Split", "Measure", "Value"], results(trained, tested)),
        "This is one run of one seed. The interval tells what another draw of test texts would "
        "change; it does not tell what another seed would. The best epoch was chosen by "
        f"validation {choose_by}, which is therefore too "
        f"{'low' if choose_by == 'loss' else 'high'} on average; the test split chose nothing.",
        "## Use",
        "The snippet needs torch, transformers and safetensors. `folder` is where the files of "
        "this model are, as `hf download` with `--local-dir` puts them.",
        f"```python\n{snippet(trained)}\n```",
        caution(trained),
        "## Training",
        table(["Setting", "Value"], training_facts(trained)),
        "## Limits",
        limits(trained),
        "## Versions",
        table(["", ""], versions(trained)),
    ]
    return ModelCard("\n\n".join(parts) + "\n").content


def name_of(trained: Mapping[str, Any]) -> str:
    """The name of the model."""
    return f"{trained['model']}-{trained['pooling']}-{trained['dataset']}"


def describe(trained: Mapping[str, Any], tested: Mapping[str, Any]) -> ModelCardData:
    """The metadata, as the hub reads them; what is not finite is left out of the results."""
    encoder = trained["encoder"]
    found = [
        EvalResult(
            task_type=TASK,
            dataset_type="unknown",  # the hub means one of its own ids
            dataset_name=trained["dataset"],
            dataset_split="test",
            metric_type=METRICS[measure],
            metric_name=name,
            metric_value=tested[measure],
            metric_args={"average": "macro"} if measure == "macro_f1" else None,
        )
        for measure, name in MEASURES.items()
        if math.isfinite(tested[measure])
    ]
    return ModelCardData(
        library_name="transformers",
        pipeline_tag=TASK,
        tags=["text-encoder", trained["pooling"]],
        base_model=encoder["id"] if encoder["source"] == "hub" else None,
        model_name=name_of(trained),
        eval_results=found,
    )


def introduction(trained: Mapping[str, Any]) -> str:
    """What it is; and, before all else, whether it learned nothing."""
    made_of = (
        "in the classifier of its architecture"
        if trained["pooling"] == OWN_HEAD
        else "its states pooled into one vector, and a linear head"
    )
    text = (
        f"A classifier of texts: the encoder {escape(trained['model'])}, {made_of}. "
        f"{learners(trained['settings']['freeze'])} on the dataset {escape(trained['dataset'])}."
    )
    if trained["learned"]:
        return text
    why = "The training diverged." if trained["diverged"] else ""
    return (
        f"**This model did not learn.** {why} Its validation predictions are not shown to be right "
        f"more often than the same ones in any order (p = {trained['chance_p']:.3f}, where below "
        f"{trained['chance_level']:.2g} was asked for).\n\n{text}"
    ).replace("  ", " ")


def learners(freeze: str | int) -> str:
    """Which parts were trained, by the setting `freeze`."""
    match freeze:
        case "none":
            return "Encoder and head were trained together"
        case "encoder":
            return "The encoder is as it was, and the head alone was trained"
    return (
        "Encoder and head were trained together, without the embeddings and the lowest "
        f"{freeze} of its layers,"
    )


def model_facts(trained: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What it is made of."""
    digests = trained["encoder"]["sha256"].items()
    weights = [f"{name} {digest}" for name, digest in digests if name.endswith(".safetensors")]
    return [
        ("Encoder", f"{trained['model']}, {origin(trained['encoder'])}"),
        ("SHA-256 of the weights it began with", ", ".join(weights) or "none: they were random"),
        ("Pooling", f"{trained['pooling']}: {POOLINGS[trained['pooling']][0]}"),
        (
            "Input",
            f"{trained['settings']['max_length']:,} tokens of a text at most, special tokens "
            f"included: {KEPT[trained['truncation']]}; the rest is cut off",
        ),
        ("Parameters", f"{trained['parameters']:,}"),
    ]


def origin(encoder: Mapping[str, Any]) -> str:
    """Where an encoder comes from, without the folders of the machine where it was."""
    match encoder["source"]:
        case "hub":
            return f"from the Hugging Face hub: {encoder['id']} at revision {encoder['revision']}"
        case "package":
            package, version = encoder["package"], encoder["version"]
            return f"from the Python package {package} {version}, folder {encoder['folder']}"
        case "folder":
            return f"from the local folder {Path(encoder['path']).name}"
    sizes = [f"{key} {encoder[key]}" for key in encoder if key not in ("source", "sha256")]
    return f"from random weights, with a tokenizer of the training texts: {', '.join(sizes)}"


def results(trained: Mapping[str, Any], tested: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Validation and test, in rows."""
    n = tested["n"]
    right = round(tested["accuracy"] * n)
    low, high = binomtest(right, n).proportion_ci(0.95, method="wilson")
    shown = f"{tested['accuracy']:.4f}, 95% Wilson interval {low:.4f} to {high:.4f}, n = {n:,}"
    epoch = f"Accuracy after epoch {trained['best_epoch']}, the best"
    return [
        ("Validation", epoch, f"{trained['valid_accuracy']:.4f}"),
        ("Test", MEASURES["accuracy"], shown),
        ("Test", MEASURES["macro_f1"], f"{tested['macro_f1']:.4f}"),
        ("Test", f"{MEASURES['loss']}, in nats", f"{tested['loss']:.4f}"),
    ]


def snippet(trained: Mapping[str, Any]) -> str:
    """Python that labels texts, without this project."""
    fixed = trained["pooling"] == "padded-mean"
    filled = {
        "INPUTS": TOKENIZE_ENDS if trained["truncation"] == HEAD_TAIL else TOKENIZE,
        "WIDTH": "MAX_LENGTH" if fixed else "None",
        "MAX_LENGTH": str(trained["settings"]["max_length"]),
        "FIRST": str(trained["first_tokens"]),
        "LAST": str(trained["last_tokens"]),
        "PADDING": '"max_length"' if fixed else "True",
        "POOLED": POOLINGS[trained["pooling"]][1],
    }
    text = SNIPPET
    if trained["pooling"] == OWN_HEAD:
        text = OWN_SNIPPET_ENDS if trained["truncation"] == HEAD_TAIL else OWN_SNIPPET
    for key, value in filled.items():
        text = text.replace(key, value)
    return text


def caution(trained: Mapping[str, Any]) -> str:
    """What labels otherwise than the snippet does."""
    if trained["pooling"] != OWN_HEAD:
        return (
            "Load it this way alone: `pipeline` and `AutoModelForSequenceClassification` do not "
            "read `head.safetensors`, and label with random weights. A warning of transformers "
            "that weights of a pooler are missing means nothing here: they are not used."
        )
    if trained["truncation"] == HEAD_TAIL:
        return (
            "Cut texts this way alone: `pipeline` reads the model as well, and keeps another part "
            "of longer texts."
        )
    return (
        "Leave `truncation=True` in it: longer texts are cut as in training, since the tokenizer "
        "knows the length. `AutoModelForSequenceClassification` reads the model as well."
    )


def training_facts(trained: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """How it was trained: what decides what is learned."""
    settings = trained["settings"]
    return [
        *((key, trained[key]) for key in ("batch", "variant", "seed")),
        *((key, word(settings[key])) for key in keys_that("learned") if key in settings),
        ("learning_rate after scaling", trained["learning_rate"]),
        ("updates of all epochs", f"{trained['updates']:,}"),
        ("SHA-256 of the training tokens", trained["tokens_sha256"]),
    ]


def limits(trained: Mapping[str, Any]) -> str:
    """What it can't be relied on for."""
    name = escape(trained["dataset"])
    return "\n".join(
        [
            f"- It knows the language, the domain and the labels of {name}. Nothing was measured "
            "on other texts.",
            f"- Texts of {name} that repeat another were removed before it was split; the results "
            "are those of texts that are new to the model.",
            "- What stands beyond the tokens that are kept is not seen.",
            "- Its probabilities were not calibrated.",
            "- **No licence is stated here.** Check those of the encoder and of the data before "
            "you use or publish this model.",
        ]
    )


def versions(trained: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What it was computed by."""
    return [
        ("Workflow", trained["workflow"]),
        *trained["versions"].items(),
        ("Back-end", trained["backend"]),
        ("Precision", trained["precision"]),
        ("Hardware", trained["hardware"]),
    ]


def table(headings: Sequence[str], rows: Iterable[Iterable[Any]]) -> str:
    """A table in Markdown, all its cells escaped."""
    lines = [map(escape, headings), ["---"] * len(headings), *(map(escape, row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
