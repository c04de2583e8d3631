"""What the training loop must get right: gradients, updates, order, selection."""

import math
import os
from collections import Counter
from dataclasses import asdict, replace
from itertools import combinations

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import CUT
from made_up import epoch_of
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode
from transformers import AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from lib.data.cutting import Cut, Frame
from lib.data.tokens import TokenFile
from lib.files.predictions import Predictions
from lib.study.schema import options_of
from lib.training import sizing
from lib.training.backends import Accelerate, Torch, connect
from lib.training.batches import Bounds, Tokens, epoch_order, load_tokens
from lib.training.flops import peak_flops, training_flops
from lib.training.loop import (
    Recipe,
    accumulate,
    build_optimizer,
    build_scheduler,
    is_over,
    scaled_learning_rate,
    train,
)
from lib.training.metrics import chance_p, fit_temperature
from lib.training.model import Classifier, load_encoder, mask_of
from lib.training.prediction import predict
from lib.training.progress import Progress
from lib.training.sizing import first_bounds
from lib.training.unpadded import Unpadded

torch.set_num_threads(1)  # several would wait for one another longer than these models compute
CPU = torch.device("cpu")
BACKEND = Torch(CPU, "fp32")
BATCH = 64  # of 100 examples: one full update, and one of 36
NO_BOUND = 10**6  # tokens
BOUNDS = [  # 1 x 64, 4 x 16, 24 + 24 + 16, and as many as 500 tokens hold
    Bounds(64, NO_BOUND),
    Bounds(16, NO_BOUND),
    Bounds(24, NO_BOUND),
    Bounds(64, 500),
]
SETTINGS = {key: option["default"] for key, option in options_of("training").items()} | {
    "learning_rate": 1e-3,
    "epochs": 1,
    "dropout": 0.0,
    "micro_tokens": NO_BOUND,
    "eval_batch": 64,
    "device": "cpu",
    "precision": "fp32",
}


def build(
    encoders, architecture: str, dtype: torch.dtype = torch.float32, seed: int = 0
) -> Classifier:
    torch.manual_seed(seed)
    return Classifier(
        load_encoder(encoders[architecture], "masked-mean"), "masked-mean", 2, 0.0
    ).to(dtype)


def load(tokens, architecture: str, split: str = "train") -> Tokens:
    return load_tokens(tokens[architecture] / f"{split}.parquet", CUT, CPU, "masked-mean")


def gradient(model: Classifier) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def fit(model, train_tokens, valid_tokens, **changes):
    losses = []
    backend = changes.pop("backend", BACKEND)
    batch, seed = changes.pop("batch", BATCH), changes.pop("seed", 5)
    result = train(
        model,
        (train_tokens, valid_tokens),
        Recipe(batch, seed, SETTINGS | changes),
        backend,
        lambda epoch, updates: losses.extend(updates.losses),
    )
    return result, losses


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
@pytest.mark.parametrize("bounds", BOUNDS)
def test_gradient_is_the_mean_over_the_effective_batch(encoders, tokens, architecture, bounds):
    data = load(tokens, architecture)
    model = build(encoders, architecture)
    sizes = []
    for rows in epoch_order(len(data), seed=5, epoch=1).split(BATCH):
        loss = cross_entropy(model(data.batch(rows)), data.labels[rows])
        model.zero_grad()
        loss.backward()
        expected = gradient(model)
        model.zero_grad()
        mean_loss, _ = accumulate(model, data, rows, bounds, BACKEND)
        difference = (gradient(model) - expected).norm() / expected.norm()
        assert difference < 1e-5
        assert mean_loss.item() == pytest.approx(loss.item(), rel=1e-5)
        sizes.append(len(rows))
    assert sizes == [64, 36]


def rates_by_hand(total: int, warmup: int) -> list[float]:
    """Shares of a learning rate that rises for `warmup` updates, and then falls to zero."""
    rising = [update / warmup for update in range(warmup)]
    return rising + [(total - update) / (total - warmup) for update in range(warmup, total)]


def plain_training(
    model: Classifier, data: Tokens, valid: Tokens, weighted: bool, most: float
) -> list[dict]:
    """Thirteen updates of 24 examples, five to an epoch, in a loop without anything else.

    Returns:
        A line per epoch, with the losses of its updates and the weights at its end.
    """
    decayed = {"params": [p for p in model.parameters() if p.ndim >= 2], "weight_decay": 0.3}
    others = {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0}
    optimizer = torch.optim.AdamW([decayed, others], foreach=False)
    parts = compute_class_weight("balanced", classes=np.array([0, 1]), y=data.labels.numpy())
    weights = torch.from_numpy(parts)[data.labels] if weighted else torch.ones(len(data)).double()
    assert weights.mean() == pytest.approx(1)
    rates = iter(rates_by_hand(total=13, warmup=5))
    lines: list[dict] = []
    for epoch, updates in ((1, 5), (2, 5), (3, 3)):
        order = torch.from_numpy(np.random.default_rng([5, epoch]).permutation(len(data)))
        losses, norms, sizes, hits = [], [], [], []
        model.train()
        for rows in order.split(24)[:updates]:
            rate = 2e-3 * next(rates)
            for group in optimizer.param_groups:
                group["lr"] = rate
            logits = model(data.batch(rows))
            loss = (
                weights[rows] * cross_entropy(logits, data.labels[rows], reduction="none")
            ).mean()
            optimizer.zero_grad()
            loss.backward()
            norms.append(gradient(model).norm().item())
            if most < norms[-1]:
                for parameter in filter(lambda each: each.grad is not None, model.parameters()):
                    parameter.grad *= most / (norms[-1] + 1e-6)  # as torch has it
            optimizer.step()
            losses.append(loss.item())
            sizes.append(len(rows))
            hits += (logits.argmax(dim=1) == data.labels[rows]).tolist()
        with torch.no_grad():
            logits = model.eval()(valid.batch(torch.arange(len(valid))))
        lines.append(
            {
                "epoch": epoch,
                "train_loss": np.dot(losses, sizes) / len(hits),
                "train_accuracy": sum(hits) / len(hits),
                "valid_loss": cross_entropy(logits, valid.labels).item(),
                "valid_accuracy": (logits.argmax(dim=1) == valid.labels).double().mean().item(),
                "valid_balanced_accuracy": balanced_accuracy_score(valid.labels, logits.argmax(1)),
                "valid_macro_f1": f1_score(valid.labels, logits.argmax(dim=1), average="macro"),
                "temperature": fit_temperature(logits.numpy(), valid.labels.numpy()),
                "chance_p": chance_p(valid.labels.numpy(), logits.argmax(dim=1).numpy()),
                "grad_norm": np.mean(norms),
                "learning_rate": rate,
                "updates": 5 * (epoch - 1) + updates,
                "losses": losses,
                "norms": norms,
                "weights": {key: tensor.clone() for key, tensor in model.state_dict().items()},
            }
        )
    return lines


@pytest.mark.parametrize("backend", [Torch, Accelerate])
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
@pytest.mark.parametrize(("weights", "most"), [("none", "none"), ("balanced", 2.0)])
def test_training_is_that_of_a_plain_loop(encoders, tokens, architecture, backend, weights, most):
    data, valid = load(tokens, architecture), load(tokens, architecture, "valid")
    valid = valid.select(torch.arange(37))
    rare = data.labels * (torch.arange(len(data)) % 3 > 0)
    data, valid = replace(data, labels=rare), replace(valid, labels=valid.labels[:37])
    limit = math.inf if most == "none" else most
    expected = plain_training(
        build(encoders, architecture, torch.float64), data, valid, weights == "balanced", limit
    )
    every = [norm for line in expected for norm in line["norms"]]
    assert min(every) < 2 < max(every)  # some are clipped, and some not
    model, losses, norms, kept = build(encoders, architecture, torch.float64), [], [], []

    def on_epoch(epoch, updates):
        losses.append(updates.losses)
        norms.append(updates.norms)
        kept.append({key: tensor.clone() for key, tensor in model.state_dict().items()})

    settings = SETTINGS | {
        **{"optimizer": "adamw", "weight_decay": 0.3, "scheduler": "linear", "warmup": 0.4},
        **{"learning_rate": 1e-3, "lr_scaling": "linear", "lr_scaling_base": 12, "updates": 13},
        **{"micro_batch": 9, "micro_tokens": 300, "eval_batch": 10},
        **{"class_weights": weights, "max_grad_norm": most},
    }
    result = train(model, (data, valid), Recipe(24, 5, settings), backend(CPU, "fp32"), on_epoch)
    for line, epoch, found, told, state in zip(
        expected, result.history, losses, norms, kept, strict=True
    ):
        assert found == pytest.approx(line.pop("losses"), rel=1e-5)
        assert told == pytest.approx(line.pop("norms"), rel=1e-5)
        for key, tensor in line.pop("weights").items():
            torch.testing.assert_close(state[key], tensor, rtol=0, atol=1e-9)
        measured = asdict(epoch)
        assert measured.pop("seconds") > 0
        assert measured == pytest.approx(line, rel=1e-5)
    best = max(expected, key=lambda line: (line["valid_accuracy"], -line["valid_loss"]))
    assert result.best.epoch == best["epoch"]
    for key, tensor in model.state_dict().items():
        assert torch.equal(tensor, kept[best["epoch"] - 1][key])
    assert not result.diverged and result.bounds == Bounds(9, 300)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_parameters_after_an_epoch_do_not_depend_on_the_passes(encoders, tokens, architecture):
    data, valid = load(tokens, architecture), load(tokens, architecture, "valid")
    trained = []
    for micro_batch, micro_tokens in BOUNDS:
        model = build(encoders, architecture, torch.float64)
        result, _ = fit(model, data, valid, micro_batch=micro_batch, micro_tokens=micro_tokens)
        assert result.history[-1].updates == math.ceil(len(data) / BATCH) == 2
        trained.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    for parameters in trained[1:]:
        torch.testing.assert_close(parameters, trained[0], rtol=0, atol=1e-9)


def test_every_update_takes_the_same_examples_in_passes_of_like_length(
    encoders, tokens, monkeypatch
):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    original = Tokens.batch
    for bounds in BOUNDS:
        passes = []

        def spy(self, rows, passes=passes):
            if self is data:
                passes.append(rows)
            return original(self, rows)

        monkeypatch.setattr(Tokens, "batch", spy)
        micro_batch, micro_tokens = bounds
        model = build(encoders, "bert")
        fit(model, data, valid, micro_batch=micro_batch, micro_tokens=micro_tokens, epochs=2)
        assert max(map(len, passes)) <= micro_batch  # memory is that of one pass
        assert max(len(rows) * int(data.widths[rows].max()) for rows in passes) <= micro_tokens
        seen = torch.cat(passes)
        for epoch, examples in enumerate(seen.split(len(data)), 1):
            expected = epoch_order(len(data), seed=5, epoch=epoch).split(BATCH)
            for found, update in zip(examples.split(BATCH), expected, strict=True):
                assert sorted(found.tolist()) == sorted(update.tolist())
                assert data.widths[found].diff().le(0).all()


def tokens_of_lengths(lengths: list[int], pooling: str = "masked-mean") -> Tokens:
    """A split of made-up tokens."""
    file = TokenFile(
        ids=np.arange(len(lengths)),
        labels=np.zeros(len(lengths), np.int8),
        columns={"input_ids": np.ones(sum(lengths), np.int32)},
        bounds=np.cumsum([0, *lengths]),
        uncut=np.array(lengths, np.int32),
        pad_id=0,
        cut=Cut(10, "head"),
        frame=Frame(0, 0, "head"),
    )
    return Tokens.of(file, CPU, pooling)


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        (Bounds(9, 1000), [[1, 5, 2, 4, 0, 3]]),
        (Bounds(4, 1000), [[1, 5, 2, 4], [0, 3]]),
        (Bounds(9, 16), [[1, 5], [2, 4, 0, 3]]),
        (Bounds(3, 16), [[1, 5], [2, 4, 0], [3]]),
        (Bounds(9, 5), [[1], [5], [2], [4], [0, 3]]),  # an example longer than the bound
    ],
)
def test_passes_are_as_few_as_their_bounds_allow(bounds, expected):
    tokens = tokens_of_lengths([2, 8, 4, 2, 4, 7])
    rows = tokens.by_length(torch.arange(6))
    assert [part.tolist() for part in tokens.passes(rows, bounds)] == expected
    assert list(tokens.passes(rows[:0], bounds)) == []


def test_lengths_do_not_count_where_all_is_padded_to_max_length():
    tokens = tokens_of_lengths([2, 8, 4], pooling="padded-mean")
    rows = tokens.by_length(torch.tensor([2, 0, 1]))
    assert [part.tolist() for part in tokens.passes(rows, Bounds(9, 20))] == [[2, 0], [1]]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_automatic_bounds_fill_a_gpu_and_the_caches_of_a_cpu(encoders, tokens, monkeypatch, device):
    backend = Torch(torch.device(device), "fp32")
    automatic = {"micro_batch": "auto", "micro_tokens": "auto"}
    expected = {"cpu": Bounds(64, 2048), "cuda": Bounds(1024, 32768)}
    monkeypatch.setattr(sizing, "memory_of", lambda _: 10**12)
    data, model = load(tokens, "bert"), build(encoders, "bert")

    def first(settings, batch: int) -> Bounds:
        return first_bounds(settings, batch, model, data, backend)

    assert first(automatic, 1024) == expected[device]
    assert first(automatic | {"micro_batch": 16}, 1024).examples == 16
    assert first(automatic | {"micro_tokens": 100}, 8) == Bounds(8, 100)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_automatic_passes_of_a_gpu_keep_what_its_memory_holds(
    encoders, tokens, monkeypatch, precision
):
    data, model = load(tokens, "modernbert"), build(encoders, "modernbert").train()
    weights = sum(parameter.numel() for parameter in model.parameters())
    backend, free = Torch(CPU, precision), 2**24
    monkeypatch.setattr(sizing, "memory_of", lambda _: sizing.WEIGHT * weights + free)
    fitting = sizing.fitting_tokens(model, data, backend)
    (longest,) = data.by_length(torch.arange(len(data)))[:1]
    few, many = (
        sizing.saved_bytes(model, data.batch(longest.repeat(count)), backend)
        for count in (8, 8 + fitting // int(data.widths[longest]))
    )
    assert many - few == pytest.approx(sizing.SHARE * free, rel=0.02)
    automatic, cuda = (
        {"micro_batch": 64, "micro_tokens": "auto"},
        Torch(torch.device("cuda"), "fp32"),
    )
    if precision == "fp32":
        assert first_bounds(automatic, 64, model, data, cuda) == Bounds(64, fitting)


def test_order_depends_on_seed_and_epoch_alone():
    order = epoch_order(1000, seed=1, epoch=2)
    torch.randperm(10)
    assert torch.equal(order, epoch_order(1000, seed=1, epoch=2))
    assert not torch.equal(order, epoch_order(1000, seed=2, epoch=2))
    assert not torch.equal(order, epoch_order(1000, seed=1, epoch=1))


def test_two_trainings_are_identical(encoders, tokens):
    data, valid = load(tokens, "modernbert"), load(tokens, "modernbert", "valid")
    runs = []
    for _ in range(2):
        model = build(encoders, "modernbert")
        result, losses = fit(model, data, valid, batch=16, epochs=2, micro_batch=8)
        runs.append((losses, [epoch.valid_loss for epoch in result.history], model.state_dict()))
    assert runs[0][:2] == runs[1][:2]
    assert all(torch.equal(runs[0][2][key], runs[1][2][key]) for key in runs[0][2])


def test_training_learns(encoders, tokens):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    _, losses = fit(build(encoders, "bert"), data, valid, batch=20, epochs=8, learning_rate=3e-3)
    assert losses[-1] < 0.5 * losses[0]


def predictions_of(model, data, bounds=(64, NO_BOUND)) -> Predictions:
    logits = predict(model, data, Bounds(*bounds), BACKEND)
    return Predictions.of(logits, data.labels.numpy())


def test_the_best_epoch_is_kept(encoders, tokens):
    data, model = load(tokens, "bert"), build(encoders, "bert")
    valid = replace(data, labels=1 - data.labels)  # the more is learned, the worse
    result, _ = fit(model, data, valid, batch=20, epochs=6, learning_rate=3e-3)
    best = max(result.history, key=lambda epoch: epoch.rank("accuracy"))
    assert result.best == best != result.history[-1]
    kept = predictions_of(model, valid)
    assert kept.accuracy() == result.best.valid_accuracy
    assert kept.mean_loss() == pytest.approx(result.best.valid_loss)


@pytest.mark.parametrize("patience", [1, 2])
def test_patience_ends_a_training_and_changes_nothing_before(encoders, tokens, patience):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    changes = {"epochs": 9, "learning_rate": 0.01, "scheduler": "linear"}
    whole, _ = fit(build(encoders, "bert"), data, valid, **changes)
    model = build(encoders, "bert")
    result, losses = fit(model, data, valid, patience=patience, **changes)
    epochs = len(result.history)
    assert result.best.epoch + patience == epochs < 9 and len(losses) == 2 * epochs
    assert [replace(epoch, seconds=0) for epoch in result.history] == [
        replace(epoch, seconds=0) for epoch in whole.history[:epochs]
    ]
    kept = predictions_of(model, valid)
    assert kept.mean_loss() == pytest.approx(result.best.valid_loss)


def test_patience_waits_since_the_best_epoch_and_not_since_a_worse_one():
    accuracies = [0.5, 0.6, 0.55, 0.58, 0.7]
    history = [epoch_of(i, valid_accuracy=x) for i, x in enumerate(accuracies, 1)]
    begun = [Progress(None, None, None, "accuracy", history=history[:n]) for n in range(6)]
    for patience, ends in ((1, 3), (2, 4), (3, None)):
        over = [is_over(progress, 9, patience) for progress in begun]
        assert (over.index(True) if any(over) else None) == ends
    assert is_over(begun[5], 5, "none") and not is_over(begun[4], 5, "none")


def test_ties_go_to_the_lower_loss_and_then_to_the_earlier_epoch():
    def epoch(number, accuracy, loss, train_loss=0.0):
        return epoch_of(number, train_loss=train_loss, valid_loss=loss, valid_accuracy=accuracy)

    def best(epochs):
        return max(epochs, key=lambda epoch: epoch.rank("accuracy")).epoch

    epochs = [epoch(1, 0.7, 0.3), epoch(2, 0.8, 0.6), epoch(3, 0.8, 0.4), epoch(4, 0.8, 0.4)]
    assert best(epochs) == best(epochs[::-1]) == 3
    for loss in (math.nan, math.inf):
        for diverged in (epoch(5, 0.9, loss), epoch(5, 0.9, 0.1, train_loss=loss)):
            for order in ([diverged, *epochs], [*epochs, diverged]):
                assert best(order) == 3


@pytest.mark.parametrize(
    ("choose_by", "best"),
    [("accuracy", 1), ("balanced_accuracy", 2), ("macro_f1", 3), ("loss", 4)],
)
def test_the_best_epoch_is_chosen_by_what_is_asked_for(choose_by, best):
    epochs = [
        epoch_of(1, valid_accuracy=0.9, valid_balanced_accuracy=0.1, valid_macro_f1=0.2),
        epoch_of(2, valid_accuracy=0.2, valid_balanced_accuracy=0.9, valid_macro_f1=0.1),
        epoch_of(3, valid_accuracy=0.1, valid_balanced_accuracy=0.2, valid_macro_f1=0.9),
        epoch_of(4, valid_accuracy=0.1, valid_balanced_accuracy=0.1, valid_loss=0.1),
        epoch_of(5, valid_accuracy=0.9, valid_macro_f1=0.9),  # equal, and later
        epoch_of(6, valid_accuracy=1, valid_balanced_accuracy=1, train_loss=math.inf),
    ]
    progress = Progress(None, None, Bounds(1, 1), choose_by, history=epochs)
    assert progress.best.epoch == best and progress.waited == 6 - best


def test_a_training_that_diverges_ends_with_the_best_finite_epoch(encoders, tokens):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    steep = {"learning_rate": 1e8, "epochs": 9}
    result, losses = fit(build(encoders, "bert"), data, valid, batch=20, **steep)
    assert (len(result.history), result.best.epoch, result.diverged) == (1, 1, True)
    assert math.isfinite(losses[0]) and math.isnan(losses[-1]) and len(losses) == 5

    model = build(encoders, "bert")
    result, losses = fit(model, data, valid, batch=100, warmup=1.0, **steep)  # the first rate is 0
    assert (len(result.history), result.best.epoch, result.diverged) == (2, 1, True)
    assert np.isfinite(losses).all() and math.isnan(result.history[-1].valid_loss)
    assert predictions_of(model, valid).mean_loss() == result.best.valid_loss


def test_dropout_acts_in_training_and_not_in_validation(encoders, tokens):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    found = []
    for dropout in (0.0, 0.5):
        model = build(encoders, "bert").eval()
        model.dropout.p = dropout
        result, losses = fit(model, data, valid, epochs=2, learning_rate=1e-12)
        found.append((losses, [epoch.valid_loss for epoch in result.history]))
    (without, valid_without), (with_it, valid_with_it) = found
    assert valid_with_it == pytest.approx(valid_without, rel=1e-6)
    for first, second in zip(without, with_it, strict=True):
        assert second != pytest.approx(first, rel=1e-4)


def test_what_is_dropped_out_differs_between_updates_epochs_and_seeds(encoders, tokens):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    dropped = []

    def note(module, arguments, output):
        if module.training:
            dropped.append((arguments[0].shape, (output == 0).tolist()))

    for seed in (1, 2, 1):
        model = build(encoders, "bert")
        model.dropout.p = 0.5
        model.dropout.register_forward_hook(note)
        fit(model, data, valid, batch=50, seed=seed, epochs=2)
    assert {shape for shape, _ in dropped} == {(50, 32)} and len(dropped) == 12
    assert dropped[8:] == dropped[:4]  # the seed gives the same again
    assert all(one != other for one, other in combinations(dropped[:8], 2))


@pytest.mark.parametrize("bounds", [(1, NO_BOUND), (7, NO_BOUND), (64, NO_BOUND), (64, 200)])
def test_accuracy_and_loss_are_means_over_examples(encoders, tokens, bounds):
    model, data = build(encoders, "bert"), load(tokens, "bert", "test")
    predictions = predictions_of(model, data, bounds)
    assert model.training  # as it was
    with torch.no_grad():
        logits = model.eval()(data.batch(torch.arange(len(data))))
    expected = (logits.argmax(dim=-1) == data.labels).float().mean()
    assert predictions.accuracy() == pytest.approx(expected.item())
    assert predictions.mean_loss() == pytest.approx(cross_entropy(logits, data.labels).item())
    assert torch.equal(torch.from_numpy(predictions.prediction), logits.argmax(dim=-1).char())
    confidence = logits.softmax(dim=-1).amax(dim=-1)
    torch.testing.assert_close(torch.from_numpy(predictions.confidence), confidence)


@pytest.mark.parametrize(
    ("scaling", "batch", "expected"),
    [
        ("none", 1024, 1e-3),
        ("sqrt", 1024, 4e-3),
        ("linear", 1024, 16e-3),
        ("sqrt", 16, 5e-4),
        ("linear", 64, 1e-3),
    ],
)
def test_learning_rate_scales_with_the_batch(scaling, batch, expected):
    assert scaled_learning_rate(SETTINGS | {"lr_scaling": scaling}, batch) == pytest.approx(
        expected
    )


@pytest.mark.parametrize(
    ("scheduler", "sixths"), [("constant", [6, 6, 6, 6, 6, 6]), ("linear", [6, 5, 4, 3, 2, 1])]
)
def test_rates_rise_from_zero_and_would_fall_to_zero_after_the_last(
    encoders, tokens, scheduler, sixths
):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    rates = []
    train(
        build(encoders, "bert"),
        (data, valid),
        Recipe(20, 1, SETTINGS | {"scheduler": scheduler, "warmup": 0.4, "epochs": 2}),
        BACKEND,
        lambda epoch, updates: rates.extend(updates.rates),
    )
    expected = [0, 2.5e-4, 5e-4, 7.5e-4, *(1e-3 * sixth / 6 for sixth in sixths)]
    assert rates == pytest.approx(expected)


def test_unmasked_mean_pads_every_batch_to_max_length(tokens):
    path = tokens["bert"] / "train.parquet"
    padded = load_tokens(path, CUT, CPU, "padded-mean")
    short = padded.lengths.argsort()[:4]
    assert padded.batch(short)["input_ids"].shape == (4, 48)
    longest = int(padded.lengths[short].max())
    dynamic = load_tokens(path, CUT, CPU, "masked-mean").batch(short)
    assert dynamic["input_ids"].shape == (4, longest)
    assert dynamic["attention_mask"].sum(dim=1).tolist() == padded.lengths[short].tolist()
    other = replace(padded, pad_id=7).batch(short)
    padding = ~mask_of(other)
    assert other["input_ids"][padding].unique().tolist() == [7]
    assert other["token_type_ids"][padding].unique().tolist() == [0]


@pytest.mark.parametrize(("longest", "width"), [(3, 32), (32, 32), (33, 48), (48, 48)])
def test_autocast_on_a_cpu_meets_few_shapes(longest, width):
    data = replace(tokens_of_lengths([2, longest]), cut=Cut(48, "head"))
    rows = torch.arange(2)
    assert data.batch(rows)["input_ids"].shape == (2, longest)
    with torch.autocast("cpu", torch.bfloat16):
        batch = data.batch(rows)
        passes = [*data.passes(rows.flip(0), Bounds(9, 2 * width))]
        assert len(passes) == 1 and data.padded(rows) == 2 * width
        assert len([*data.passes(rows.flip(0), Bounds(9, 2 * width - 1))]) == 2
    assert batch["input_ids"].shape == (2, width)
    assert batch["attention_mask"].sum(dim=1).tolist() == [2, longest]


class Synchronisations(TorchDispatchMode):
    """Counts the operations that wait for the device."""

    count = 0

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        self.count += "_local_scalar_dense" in str(function) or "nonzero" in str(function)
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
@pytest.mark.parametrize("examples", [1, 8])  # without padding, and with it
def test_no_pass_waits_for_the_device(encoders, tokens, architecture, examples):
    data, model = load(tokens, architecture), build(encoders, architecture)
    rows = torch.arange(examples)
    inputs = data.batch(rows)  # whose width is known on the CPU
    assert ("attention_mask" in inputs) == (examples == 8)
    with Synchronisations() as synchronisations:
        BACKEND.backward(cross_entropy(model(inputs), data.labels[rows], reduction="sum"))
    assert synchronisations.count == 0


@pytest.mark.parametrize("kind", [Tokens, Unpadded])
def test_batches_are_made_where_the_tokens_are(tokens, kind):
    meta = torch.device("meta")
    data = load_tokens(tokens["bert"] / "train.parquet", CUT, meta, "masked-mean")
    for rows in (torch.arange(8), data.lengths.argsort()[-4:]):  # with padding, and without
        inputs = kind(**vars(data)).batch(rows)
        assert {x.device for x in inputs.values()} == {meta}


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_attention_is_that_of_transformers(encoders, tokens, monkeypatch, architecture):
    data, model = load(tokens, architecture), build(encoders, architecture).eval()
    for rows in (torch.tensor([0]), torch.arange(8)):
        found = model(data.batch(rows))
        inputs = data.batch(rows) | {"attention_mask": mask_of(data.batch(rows))}
        with monkeypatch.context() as stock:
            stock.setitem(AttentionMaskInterface._global_mapping, "sdpa", sdpa_mask)
            torch.testing.assert_close(model(inputs), found)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
@pytest.mark.parametrize("pooling", ["cls", "masked-mean", "max", "padded-mean"])
def test_passes_without_padding_are_those_with_a_mask_that_masks_nothing(
    encoders, tokens, architecture, pooling
):
    data, model = load(tokens, architecture), build(encoders, architecture).eval()
    model.pooling = pooling
    rows = (data.lengths == data.lengths.max()).nonzero().flatten()[:4]
    inputs = data.batch(rows)
    assert "attention_mask" not in inputs and len(rows) > 1
    gradients = []
    for given in (inputs, inputs | {"attention_mask": mask_of(inputs)}):
        model.zero_grad()
        cross_entropy(model(given), data.labels[rows]).backward()
        gradients.append(gradient(model))
    assert torch.equal(*gradients)


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_attention_in_passes_without_padding_has_no_mask(
    encoders, tokens, monkeypatch, architecture
):
    data, model, masks = load(tokens, architecture), build(encoders, architecture), []
    attend = torch.nn.functional.scaled_dot_product_attention

    def note(*arguments, attn_mask=None, **options):
        masks.append(attn_mask)
        return attend(*arguments, attn_mask=attn_mask, **options)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", note)
    longest = data.lengths.argsort()[-4:]
    for rows, masked in ((longest, False), (torch.arange(8), True)):
        masks.clear()
        model(data.batch(rows))
        assert [mask is not None for mask in masks] == [masked, masked]


class Casts(TorchDispatchMode):
    """Counts the casts of each weight of a model to half its size."""

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        names = {parameter.data_ptr(): name for name, parameter in model.named_parameters()}
        self.names, self.counts = names, Counter()

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        found = function(*arguments, **(options or {}))
        is_cast = function.overloadpacket in (torch.ops.aten.to, torch.ops.aten._to_copy)
        if is_cast and found.dtype.itemsize == 2:
            self.counts[self.names.get(arguments[0].data_ptr(), "")] += 1
        return found


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_weights_are_cast_once_an_update_and_once_a_validation(encoders, tokens, architecture):
    data, model = load(tokens, architecture), build(encoders, architecture)
    backend, rows, gradients = Torch(CPU, "bf16"), torch.arange(32), []
    for bounds in (Bounds(4, NO_BOUND), Bounds(32, NO_BOUND)):
        model.zero_grad()
        with Casts(model) as casts:
            accumulate(model, data, rows, bounds, backend)
        gradients.append(gradient(model))
        del casts.counts[""]
        assert set(casts.counts.values()) == {1} and len(casts.counts) >= 8
        assert not any(name.startswith("head") for name in casts.counts)
    torch.testing.assert_close(*gradients, rtol=0.05, atol=0.005)
    with Casts(model) as casts:
        predict(model, data, Bounds(4, NO_BOUND), backend)
    del casts.counts[""]
    assert set(casts.counts.values()) == {1} and len(casts.counts) >= 8


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_the_head_computes_in_float32(encoders, tokens, architecture):
    data, model = load(tokens, architecture), build(encoders, architecture).eval()
    rows = torch.arange(64)
    with torch.no_grad(), Torch(CPU, "bf16").autocast():
        logits, vectors = model(data.batch(rows)), model.represent(data.batch(rows))
    assert (logits.dtype, vectors.dtype) == (torch.float32, torch.float32)
    torch.testing.assert_close(logits, model.head(vectors), rtol=1e-6, atol=1e-6)
    assert len(logits.unique()) > 120  # of 128; in bf16 many would be alike
    found = predict(model, data, Bounds(16, NO_BOUND), Torch(CPU, "bf16"))
    assert len(np.unique(found)) > 1.95 * len(data)


@pytest.mark.parametrize("backend", [Torch, Accelerate])
def test_bf16_trains_nearly_as_fp32_does(encoders, tokens, backend):
    AcceleratorState._reset_state(reset_partial_state=True)
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    _, losses = fit(build(encoders, "bert"), data, valid, batch=20)
    model = build(encoders, "bert")
    lower = backend(CPU, "bf16")
    with lower.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    _, low = fit(model, data, valid, batch=20, backend=lower)
    AcceleratorState._reset_state(reset_partial_state=True)
    assert low == pytest.approx(losses, abs=0.02) and low != losses
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_flops_are_those_that_torch_counts(encoders, tokens, architecture):
    data, model = load(tokens, architecture), build(encoders, architecture)
    rows = data.lengths.argsort()[-4:]  # all of the same length, so that nothing is padding
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        accumulate(model, data, rows, Bounds(4, NO_BOUND), BACKEND)
    expected = counter.get_total_flops()
    assert training_flops(model, data.lengths[rows]) == pytest.approx(expected, rel=0.1)
    assert peak_flops(CPU, "fp32") > 1e8


@pytest.mark.parametrize("name", options_of("training")["optimizer"]["enum"])
def test_every_optimizer_is_built_by_its_name_and_adamw_alone_decays_matrices(encoders, name):
    model = build(encoders, "bert")
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    optimizer = build_optimizer(
        list(model.parameters()), SETTINGS | {"optimizer": name, "weight_decay": 0.5}, 0.1
    )
    assert type(optimizer).__name__.lower() == name
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for key, parameter in model.named_parameters():
        kept = 1 - 0.1 * 0.5 if name == "adamw" and parameter.ndim >= 2 else 1
        torch.testing.assert_close(parameter.detach(), kept * before[key])


@pytest.mark.parametrize("name", options_of("training")["scheduler"]["enum"])
def test_every_schedule_is_built(encoders, name):
    optimizer = build_optimizer(list(build(encoders, "bert").parameters()), SETTINGS, 1e-3)
    schedule = build_scheduler(optimizer, SETTINGS | {"scheduler": name}, 10)
    for _ in range(5):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr()[0] == {"constant": 1e-3, "linear": 5e-4}[name]


@pytest.mark.parametrize("deterministic", [True, False])
def test_algorithms_are_deterministic_if_asked_for(monkeypatch, deterministic):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    connect(SETTINGS | {"backend": "torch", "threads": 3, "deterministic": deterministic}, seed=5)
    assert torch.get_num_threads() == 3
    torch.set_num_threads(1)
    assert torch.are_deterministic_algorithms_enabled() == deterministic
    assert ("CUBLAS_WORKSPACE_CONFIG" in os.environ) == deterministic
