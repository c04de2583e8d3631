"""The model card of a run: what the Hugging Face hub and its readers are told of a checkpoint."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from huggingface_hub import EvalResult, ModelCard, ModelCardData
from scipy.stats import binomtest

from lib.command.markup import escape
from lib.data.cutting import HEAD, HEAD_TAIL, TAIL
from lib.study.schema import keys_that, word
from lib.training.poolings import OWN_HEAD, PADDED_MEAN

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
    *("truncation", "temperature"),
    *("hardware", "precision", "backend", "versions", "workflow"),
)
TASK = "text-classification"
MEASURES = {"accuracy": "Accuracy", "macro_f1": "Macro F1", "loss": "Loss"}
METRICS = {"accuracy": "accuracy", "macro_f1": "f1", "loss": "loss"}  # by the names of the hub

POOLINGS = {  # pooling -> what it is
    "cls": "the state of the first token",
    "padded-mean": "the mean over all positions, padding included",
    "masked-mean": "the mean over all tokens, without padding",
    "max": "the maximum over all tokens, without padding, per dimension",
    "pooler": "the encoder's own pooler",
    OWN_HEAD: "what the classifier of its architecture has before the last layer",
}
KEPT = {  # by truncation
    HEAD: "the first",
    TAIL: "the last",
    HEAD_TAIL: "the first quarter of them and the last three",
}


class Loading(NamedTuple):
    """How a model is loaded.

    Attributes:
        library: that loads it, as the hub names it; none where no library computes what it does.
        task: that the library promises of it, as the hub names it.
        needed: to be installed, in a sentence.
        code: Python that gives what it makes of some texts.
        caution: what has to be known besides.
    """

    library: str | None
    task: str | None
    needed: str
    code: str
    caution: str


SENTENCE_TRANSFORMERS = Loading(
    "sentence-transformers",
    "feature-extraction",
    "`pip install sentence-transformers` is all that is needed. `folder` is where the files of "
    "this model are, or its name on the hub.",
    """\
from sentence_transformers import SentenceTransformer

model = SentenceTransformer(folder)
logits = model.encode(texts, convert_to_tensor=True)
probabilities = (logits / TEMPERATURE).softmax(dim=-1)""",
    "The columns are the classes above; the temperature makes the probabilities fit validation. "
    "Without its last module, `del model[-1]`, the model gives sentence vectors. `pipeline` and "
    "`AutoModelForSequenceClassification` do not read the head, and label with random weights.",
)
PIPELINE = Loading(
    "transformers",
    TASK,
    "`pip install transformers torch` is all that is needed. `folder` is where the files of this "
    "model are, or its name on the hub.",
    """\
from transformers import pipeline

classify = pipeline("text-classification", model=folder)
found = classify(texts, truncation=True, top_k=None)""",
    "Leave `truncation=True` in it: longer texts are cut as in training, since the tokenizer knows "
    "the length. The scores are those before the temperature, TEMPERATURE, by which logits are to "
    "be divided for probabilities that fit validation. `AutoModelForSequenceClassification` reads "
    "the model as well, and `SentenceTransformer` gives its logits.",
)
WORKFLOW = Loading(
    None,
    None,
    "It takes the code of the workflow, with its folder `scripts` on the path of Python. `folder` "
    "is where the files of this model are.",
    """\
from lib.training.inference import TextClassifier

classify = TextClassifier(folder)
probabilities = classify.probabilities(texts)""",
    "",
)
PADDED = (
    "No library has a mean over padding: sentence-transformers refuses this model by the name of "
    "its pooling, and `pipeline` labels with random weights. An export to ONNX, by `export.py` of "
    "the workflow, computes it where texts are padded to MAX_LENGTH tokens."
)
BOTH_ENDS = (
    "Other libraries keep another part of texts of more than MAX_LENGTH tokens; of shorter ones, "
    "LIBRARY gives the same."
)


def model_card(
    trained: Mapping[str, Any],
    tested: Mapping[str, Any],
    labels: Sequence[str],
    data: Mapping[str, Any],
) -> str:
    """The model card of a run, as Markdown with a block of metadata.

    Args:
        trained: what train.json tells.
        tested: what test.json tells; a loss may be NaN.
        labels: names of the classes.
        data: what reviews.json tells; nothing where it is not known.
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
        *use(trained),
        "## Training",
        table(["Setting", "Value"], training_facts(trained)),
        "## Limits",
        limits(trained, data),
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
        library_name=loading(trained).library,
        pipeline_tag=loading(trained).task,
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
        ("Pooling", f"{trained['pooling']}: {POOLINGS[trained['pooling']]}"),
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


def loading(trained: Mapping[str, Any]) -> Loading:
    """How the model of a run is loaded."""
    library = PIPELINE if trained["pooling"] == OWN_HEAD else SENTENCE_TRANSFORMERS
    if trained["pooling"] == PADDED_MEAN:
        return WORKFLOW._replace(caution=PADDED)
    if trained["truncation"] == HEAD_TAIL:
        return WORKFLOW._replace(caution=BOTH_ENDS.replace("LIBRARY", f"{library.library}"))
    return library


def use(trained: Mapping[str, Any]) -> list[str]:
    """How to label texts, in paragraphs."""
    found = loading(trained)
    numbers = {
        "TEMPERATURE": f"{trained['temperature']:.6g}",
        "MAX_LENGTH": str(trained["settings"]["max_length"]),
    }
    paragraphs = [found.needed, f"```python\n{found.code}\n```", found.caution]
    for key, value in numbers.items():
        paragraphs = [text.replace(key, value) for text in paragraphs]
    return paragraphs


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


def limits(trained: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What it can't be relied on for."""
    name = escape(trained["dataset"])
    return "\n".join(
        [
            f"- It knows the language, the domain and the labels of {name}. Nothing was measured "
            "on other texts.",
            f"- Texts of {name} that repeat another were removed before it was split; the results "
            "are those of texts that are new to the model.",
            "- What stands beyond the tokens that are kept is not seen.",
            "- How sure it is was fitted, by one number, to validation texts of the same kind; of "
            "other texts it may be surer than it is right.",
            f"- **No licence of this model is stated here.** {licences(trained['encoder'], data)} "
            "Nothing of that was checked: check the licences of the encoder and of the data before "
            "you use or publish this model.",
        ]
    )


def licences(encoder: Mapping[str, Any], data: Mapping[str, Any]) -> str:
    """What their sources tell of the licences of encoder and data, in a sentence."""
    of_encoder, of_data = "No licence is told of the encoder", "no licence is told of the data"
    if encoder["source"] == "scratch":
        of_encoder = "The encoder began with random weights of this study"
    if "license" in encoder:
        of_encoder = f"The encoder is under {escape(encoder['license'])}, as its source says"
    if "license" in data:
        of_data = f"the data are under {escape(data['license'])}, as their source says"
    return f"{of_encoder}; {of_data}."


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
