"""The loop of published studies, written anew: full padding, float32, a wait in every pass."""

from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader, TensorDataset

from lib.data.cutting import Cut
from lib.data.tokens import read_tokens
from lib.training.loop import scaled_learning_rate
from lib.training.model import Classifier
from loops import Loop, Setup, build, now


def train(model: Classifier, tokens: Path, setup: Setup) -> Loop:
    """Train one epoch."""
    data = read_padded(tokens, setup.cut)
    loader = DataLoader(data, batch_size=setup.micro_batch, shuffle=True)
    optimizer = Adam(model.parameters(), lr=scaled_learning_rate(setup.settings, setup.batch))
    started = now(setup.device)
    loss, _ = train_epoch(model, loader, optimizer, setup)
    seconds = now(setup.device) - started
    return Loop(len(data), len(loader) // setup.passes, seconds, loss)


def train_epoch(
    model: Classifier, loader: DataLoader, optimizer: Optimizer, setup: Setup
) -> tuple[float, float]:
    """Train one epoch, and return the means of its passes' losses, in nats, and accuracies."""
    model.train()
    losses, accuracies = [], []
    for number, (ids, mask, labels) in enumerate(loader, 1):
        ids, mask, labels = (column.to(setup.device) for column in (ids, mask, labels))
        logits = model({"input_ids": ids, "attention_mask": mask})
        loss = cross_entropy(logits, labels) / setup.passes
        loss.backward()
        losses.append(loss.item() * setup.passes)
        accuracies.append((logits.argmax(dim=-1) == labels).float().mean().item())
        if number % setup.passes == 0:
            optimizer.step()
            optimizer.zero_grad()
    return float(np.mean(losses)), float(np.mean(accuracies))


def run_job(tokens: Path, setup: Setup) -> float:
    """The job with validation in every epoch; the test accuracy."""
    model = build(setup)
    train, valid, test = (
        DataLoader(read_padded(path, setup.cut), setup.micro_batch, shuffle=path.stem == "train")
        for path in (tokens / "train.parquet", setup.valid, tokens / "test.parquet")
    )
    optimizer = Adam(model.parameters(), lr=scaled_learning_rate(setup.settings, setup.batch))
    best, checkpoint = -1.0, setup.out / "best.pt"
    for _ in range(setup.settings["epochs"]):
        train_epoch(model, train, optimizer, setup)
        found = accuracy(model, valid, setup)
        if found > best:
            best = found
            torch.save(model.state_dict(), checkpoint)
    model.load_state_dict(torch.load(checkpoint))
    return accuracy(model, test, setup)


@torch.no_grad()
def accuracy(model: Classifier, loader: DataLoader, setup: Setup) -> float:
    """The accuracy on a split, read from the device in every pass, as is its loss."""
    model.eval()
    hits, losses = [], []
    for batch in loader:
        ids, mask, labels = (column.to(setup.device) for column in batch)
        logits = model({"input_ids": ids, "attention_mask": mask})
        losses.append(cross_entropy(logits, labels).item())
        hits += (logits.argmax(dim=-1) == labels).tolist()
    return float(np.mean(hits))


def read_padded(path: Path, cut: Cut) -> TensorDataset:
    """The examples of a token file, all cut and padded to a length: tokens, mask and labels."""
    file = read_tokens(path, cut)
    lengths = torch.from_numpy(np.diff(file.bounds))
    mask = torch.arange(cut.max_length) < lengths[:, None]
    ids = torch.full(mask.shape, file.pad_id)
    ids[mask] = torch.from_numpy(file.columns["input_ids"].astype(np.int64))
    return TensorDataset(ids, mask, torch.from_numpy(file.labels.astype(np.int64)))
