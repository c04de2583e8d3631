"""The Trainer of transformers, as its users call it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import (
    DataCollatorWithPadding,
    EvalPrediction,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)
from transformers.trainer_pt_utils import get_length_grouped_indices

from lib.data.cutting import Cut
from lib.data.encoders import load_tokenizer
from lib.data.tokens import read_tokens
from lib.training.device import choose_precision
from lib.training.loop import scaled_learning_rate
from lib.training.model import Classifier
from loops import SEED, Loop, Setup, build, now

MEGA_BATCHES = 50  # batches that its length grouping sorts together in a large dataset


class ForTrainer(nn.Module):
    """A classifier as the Trainer calls it: keyword arguments in, loss and logits out."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        labels: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """The mean loss `()` and the logits `(n, classes)` of a padded batch."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask.bool()}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        logits = self.classifier(inputs)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


class Clock(TrainerCallback):
    """Measures the Trainer's loop: one epoch without what comes before and after it."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.started = 0.0
        self.seconds = 0.0

    def on_epoch_begin(self, *_: Any, **__: Any) -> None:
        """Start."""
        self.started = now(self.device)

    def on_epoch_end(self, *_: Any, **__: Any) -> None:
        """Stop."""
        self.seconds = now(self.device) - self.started


def train(
    model: Classifier, tokens: Path, setup: Setup, grouped: bool = False, compiled: bool = False
) -> Loop:
    """The Trainer of transformers, in its default settings but for those that all share.

    Args:
        model: the classifier.
        tokens: the training examples.
        setup: how to train.
        grouped: order them by the Trainer's function that groups by length, in the mega-batches
            of a large dataset; as few examples as here it would hardly sort.
        compiled: compile the model.
    """
    examples = read_examples(tokens, setup.cut)
    strategy = "random"
    if grouped:
        lengths = [len(example["input_ids"]) for example in examples]
        order = get_length_grouped_indices(lengths, setup.batch, MEGA_BATCHES)
        examples = [examples[row] for row in order]
        strategy = "sequential"
    trainer = build_trainer(
        model,
        setup,
        examples,
        num_train_epochs=1,
        save_strategy="no",
        train_sampling_strategy=strategy,
        torch_compile=compiled,
    )
    clock = Clock(setup.device)
    trainer.add_callback(clock)
    result = trainer.train()
    return Loop(len(examples), result.global_step, clock.seconds, result.training_loss)


def build_trainer(
    model: Classifier, setup: Setup, examples: Sequence[Mapping[str, Any]], **arguments: Any
) -> Trainer:
    """A Trainer with the settings that all share, which prints and reports nothing.

    Args:
        model: the classifier.
        setup: how to train.
        examples: those to learn from, as `read_examples` returns them.
        arguments: for TrainingArguments, or `eval_dataset` and `compute_metrics`.
    """
    settings = setup.settings
    precision = choose_precision(settings["precision"], setup.device)
    of_trainer = {
        key: arguments.pop(key) for key in ("eval_dataset", "compute_metrics") if key in arguments
    }
    options = TrainingArguments(
        str(setup.out),
        per_device_train_batch_size=setup.micro_batch,
        gradient_accumulation_steps=setup.passes,
        learning_rate=scaled_learning_rate(settings, setup.batch),
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(settings["scheduler"], "linear"),
        warmup_steps=settings["warmup"],
        max_grad_norm={"none": 0}.get(settings["max_grad_norm"], settings["max_grad_norm"]),
        seed=SEED,
        use_cpu=setup.device.type == "cpu",
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        tf32=precision == "tf32" or None,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        **arguments,
    )
    collator = DataCollatorWithPadding(load_tokenizer(setup.encoder))
    trainer = Trainer(ForTrainer(model), options, collator, list(examples), **of_trainer)
    trainer.remove_callback(PrinterCallback)
    return trainer


def run_job(tokens: Path, setup: Setup) -> float:
    """The job by the Trainer, which evaluates and saves in every epoch; the test accuracy."""
    trainer = build_trainer(
        build(setup),
        setup,
        read_examples(tokens / "train.parquet", setup.cut),
        eval_dataset=read_examples(setup.valid, setup.cut),
        compute_metrics=accuracy,
        num_train_epochs=setup.settings["epochs"],
        per_device_eval_batch_size=setup.settings["eval_batch"],
        eval_strategy="epoch",
        save_strategy="epoch",
        load_best_model_at_end=True,
        metric_for_best_model="accuracy",
    )
    trainer.train()
    trainer.save_model(str(setup.out / "best"))
    test = read_examples(tokens / "test.parquet", setup.cut)
    return trainer.evaluate(test)["eval_accuracy"]


def accuracy(found: EvalPrediction) -> dict[str, float]:
    """The accuracy of the Trainer's predictions."""
    return {"accuracy": float((found.predictions.argmax(-1) == found.label_ids).mean())}


def read_examples(path: Path, cut: Cut) -> list[dict[str, Any]]:
    """The examples of a token file as the Trainer's users have them: dictionaries of lists."""
    file = read_tokens(path, cut)
    columns = {name: np.split(column, file.bounds[1:-1]) for name, column in file.columns.items()}
    return [
        {"labels": int(label), **{name: column[row].tolist() for name, column in columns.items()}}
        for row, label in enumerate(file.labels)
    ]
