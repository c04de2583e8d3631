"""Torch and Accelerate, one process and two, much memory and little: the same training."""

import json
import os
import subprocess
from functools import partial
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from conftest import ROOT, call
from safetensors.torch import load_file
from test_training import BACKEND, build, fit, load
from torch.distributed import DistBackendError

import analyse
import collect
import evaluate
import predict
import train
from lib.command.console import UserError
from lib.files.predictions import Predictions
from lib.files.tables import read_table
from lib.training.backends import Accelerate, Torch, blame_the_other_process
from lib.training.batches import Bounds, Tokens, epoch_order
from lib.training.checkpoints import load_checkpoint
from lib.training.device import is_out_of_memory
from lib.training.model import load_encoder
from lib.training.prediction import predict as predict_split


@pytest.fixture(autouse=True)
def untracked(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")


def run(python, *words, **environment: str) -> subprocess.CompletedProcess:
    """Run Python in a process of its own."""
    return subprocess.run(
        [python, *words],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
    )


def train_command(encoders, tokens, out, flags: str, architecture: str = "bert") -> str:
    return (
        f"--tokens {tokens[architecture]} --encoder {encoders[architecture]} --run {out} "
        f"--dataset d --model m --pooling masked-mean --seed 1 --max-length 48 --device cpu "
        f"{flags}"
    )


def run_train(python, line: str, **environment: str) -> subprocess.CompletedProcess:
    return run(python, "scripts/train.py", *line.split(), **environment)


def histories(folder, *names: str) -> list[pd.DataFrame]:
    """What runs of a folder tell of their epochs, without the seconds."""
    return [pd.read_csv(folder / name / "history.csv").drop(columns="seconds") for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("more", ["", "--max-grad-norm 0.3 --freeze 1 --class-weights balanced"])
def test_two_processes_train_as_one_does_without_accelerate(
    python, encoders, tokens, tmp_path, more
):
    # The last update of an epoch of 100 examples has one, so that a process has none.
    flags = f"--batch 33 --epochs 3 --dropout 0 --micro-batch 10 --micro-tokens 200 {more}"
    one, two = (f"{flags} --backend {more}" for more in ("torch", "accelerate --processes 2"))
    call(train, train_command(encoders, tokens, tmp_path / "1", one, "modernbert"))
    done = run_train(python, train_command(encoders, tokens, tmp_path / "2", two, "modernbert"))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 3: ") == 1  # one process reports
    told = histories(tmp_path, "1", "2")
    pd.testing.assert_frame_equal(*told, rtol=1e-5)
    assert told[0]["grad_norm"].max() > 0.3  # so that there is something to clip
    weights = [load_file(tmp_path / n / "checkpoint" / "model.safetensors") for n in ("1", "2")]
    for key, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][key], tensor, rtol=0, atol=1e-5)
    measured = json.loads((tmp_path / "2" / "train.json").read_text())
    assert (measured["processes"], measured["backend"]) == (2, "accelerate")
    assert (measured["updates"], measured["micro_batch"]) == (12, 10)


@pytest.mark.slow
def test_a_diverged_training_ends_in_all_processes_and_the_study_goes_on(
    python, encoders, tokens, splits, tmp_path, capsys
):
    run = tmp_path / "dataset=d/model=m/pooling=masked-mean/batch=100000000/variant=base/seed=1"
    rate = "--learning-rate 1 --lr-scaling linear --lr-scaling-base 1"  # 1e8 in the end
    flags = f"--batch 100000000 --epochs 3 {rate} --log {tmp_path}/log"
    line = train_command(encoders, tokens, run, f"{flags} --backend accelerate --processes 2")
    done = run_train(python, line)
    assert done.returncode == 0, done.stderr
    message = (
        "m masked-mean 100000000 base seed 1: training diverged, and ends: the validation loss of "
        "epoch 1 is not finite; steps may be too large: lower learning_rate, raise warmup, set "
        "max_grad_norm"
    )
    assert done.stderr.splitlines()[1:] == [message]
    assert (tmp_path / "log").read_text().count(message) == 1
    assert len(pd.read_csv(run / "history.csv")) == 1
    trained = json.loads((run / "train.json").read_text())
    assert (trained["diverged"], trained["chance_p"], trained["valid_loss"]) == (True, 1, None)

    call(evaluate, f"--tokens {tokens['bert']}/test.parquet --run {run} --device cpu")
    call(collect, f"--runs {run} --logs {tmp_path}/logs --out {tmp_path}")
    texts = f"--reviews {splits}/test.parquet --tokens {tokens['bert']}/test.parquet"
    flags = f"--runs {run} {texts} --errors false --out {tmp_path}"
    call(analyse, f"--table {tmp_path}/runs.parquet {flags}")
    for name in ("runs", "measures"):
        assert read_table(tmp_path / f"{name}.parquet")["diverged"].tolist() == [True]
    call(predict, f"{run} --text film --device cpu")
    assert json.loads(capsys.readouterr().out) == {"label": None, "confidence": None}


@pytest.mark.slow
def test_a_mistake_in_several_processes_is_no_traceback(python, encoders, tokens, tmp_path):
    line = train_command(encoders, tokens, tmp_path / "out", "--batch 8 --labels a b c")
    done = run_train(python, f"{line} --backend accelerate --processes 2")
    assert done.returncode == 1
    message = "train.py: error: --labels names 3 classes, but there are 2"
    assert {line for line in done.stderr.splitlines() if "error" in line} == {message}
    assert "Traceback" not in done.stderr and not (tmp_path / "out").exists()


def test_one_failing_process_ends_the_others_without_a_traceback(python, tmp_path):
    script = tmp_path / "fail.py"
    script.write_text(
        "import sys, torch; from lib.training.backends import Accelerate\n"
        "from lib.command.cli import *\n"
        "from lib.training.launch import is_worker, launch\n"
        "def main(options):\n"
        "    if not is_worker(): return launch(2)\n"
        "    with Accelerate(torch.device('cpu'), 'fp32') as backend:\n"
        "        if backend.rank: raise UserError('the second one has failed')\n"
        "        backend.sum(torch.ones(3))\n"
        "run(main, Parser())\n"
    )
    done = run(python, script, PYTHONPATH=f"{ROOT}/scripts", TMPDIR=str(tmp_path))
    assert done.returncode == 1
    assert "error: the second one has failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["fail.py"]  # no logs are left behind


OTHER = "another process of this training has failed"


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("[gloo/pair.cc] Connection closed by peer"), UserError, OTHER),
        (DistBackendError("NCCL"), UserError, OTHER),
        (RuntimeError("CUDA out of memory"), RuntimeError, "CUDA out of memory"),
    ],
)
def test_an_exchange_that_breaks_off_is_blamed_on_the_other_process(error, kind, message):
    with pytest.raises(kind, match=message), blame_the_other_process():
        raise error


def test_other_launchers_are_no_concern(encoders, tokens, tmp_path, monkeypatch):
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.setenv(name, "3")
    line = train_command(encoders, tokens, tmp_path / "run", "--batch 64 --epochs 1")
    call(train, f"{line} --backend accelerate")
    assert json.loads((tmp_path / "run" / "train.json").read_text())["processes"] == 1


@pytest.mark.slow
def test_variables_of_accelerate_change_no_loss(python, encoders, tokens, tmp_path):
    """In processes of their own, since Accelerate reads them once and keeps what it read."""
    names = ("GRADIENT_ACCUMULATION_STEPS", "MIXED_PRECISION", "DYNAMO_BACKEND", "USE_FSDP")
    values = ("4", "bf16", "EAGER", "true")
    variables = {f"ACCELERATE_{x}": value for x, value in zip(names, values, strict=True)}
    flags = "--batch 64 --epochs 1 --backend accelerate"
    for name, given in (("without", {}), ("with", variables)):
        line = train_command(encoders, tokens, tmp_path / name, flags)
        done = run_train(python, line, **given)
        assert done.returncode == 0, done.stderr
        assert all(f"{variable} is not used" in done.stderr for variable in given)
    pd.testing.assert_frame_equal(*histories(tmp_path, "without", "with"), check_exact=True)


def process(rank: int, processes: int = 1) -> Torch:
    """The back-end of one of several processes."""
    backend = Torch(torch.device("cpu"), "fp32")
    backend.rank, backend.processes = rank, processes
    return backend


def test_processes_draw_dropout_of_their_own():
    drawn = []
    for rank in (0, 0, 1, 2):
        torch.manual_seed(7)
        process(rank).reseed([7])
        drawn.append(torch.rand(4))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2]) and not torch.equal(drawn[2], drawn[3])


@pytest.mark.parametrize("examples", [1, 2, 7, 64])
@pytest.mark.parametrize("processes", [1, 2, 3])
def test_every_example_of_an_update_is_in_one_share(examples, processes):
    rows = torch.arange(examples)
    shares = [process(rank, processes).share(rows) for rank in range(processes)]
    assert sorted(torch.cat(shares).tolist()) == list(range(examples))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_least_of_what_processes_have_is_that_of_all():
    backend = object.__new__(Accelerate)
    backend.device = torch.device("cpu")
    backend.accelerator = SimpleNamespace(gather=lambda own: torch.cat([own, torch.tensor([3, 9])]))
    assert (backend.least(5), backend.least(2)) == (3, 2)


def refuse(most: int, _, arguments) -> None:
    """Fail as an allocator does, in a pass over more padded tokens."""
    if arguments[0]["input_ids"].numel() > most:
        torch.rand(3)  # random numbers that a failed pass has used up
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB.")


def test_lack_of_memory_is_known_by_its_errors():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**58)
    assert is_out_of_memory(caught.value)
    for message in (
        "CUDA error: out of memory\nCUDA kernel errors might be reported elsewhere",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    ):
        assert is_out_of_memory(RuntimeError(message))
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access"))


@pytest.mark.parametrize(
    ("micro_batch", "micro_tokens", "kept"),
    [
        ("auto", 10**6, 768),  # a quarter of 64 x 48
        (64, 10**6, 768),
        (16, 10**6, 10**6),  # whose 768 fit
        (64, 1000, 480),  # half of 20 x 48, not of 1000
        (64, 100, 100),
    ],
)
def test_out_of_memory_halves_the_failed_pass_and_changes_nothing_else(
    encoders, tokens, micro_batch, micro_tokens, kept
):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    runs = []
    for tokens_at_most, memory in ((kept, 10**6), (micro_tokens, 768)):
        model = build(encoders, "bert")
        model.register_forward_pre_hook(partial(refuse, memory))
        model.dropout.p = 0.5
        passes = {"micro_batch": micro_batch, "micro_tokens": tokens_at_most, "eval_batch": 4}
        result, losses = fit(model, data, valid, epochs=2, **passes)
        runs.append((losses, result.history[-1].updates, result.bounds, model.state_dict()))
    expected, found = runs
    assert found[:3] == expected[:3]
    assert found[1:3] == (4, Bounds(16 if micro_batch == 16 else 64, kept))
    assert all(torch.equal(tensor, expected[3][key]) for key, tensor in found[3].items())


@pytest.mark.parametrize(
    ("error", "again"),
    [(torch.OutOfMemoryError("CUDA out of memory"), True), (RuntimeError("another matter"), False)],
)
def test_what_fewer_examples_do_not_mend_is_an_error(encoders, tokens, error, again):
    passes = []

    def fail(*_):
        passes.append(1)
        raise error

    model = build(encoders, "bert")
    model.register_forward_pre_hook(fail)
    with pytest.raises(type(error), match=str(error)):
        fit(model, load(tokens, "bert"), load(tokens, "bert", "valid"), micro_batch="auto")
    assert (len(passes) > 1) is again


def test_accelerate_computes_what_torch_computes(encoders, tokens):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    trained = []
    for backend in (BACKEND, Accelerate(BACKEND.device, "fp32")):
        model = build(encoders, "bert")
        _, losses = fit(model, data, valid, micro_batch=24, scheduler="linear", backend=backend)
        trained.append((losses, model.state_dict()))
    assert trained[0][0] == trained[1][0]
    assert all(torch.equal(tensor, trained[1][1][key]) for key, tensor in trained[0][1].items())


def test_all_checkpoints_are_kept_if_asked_for(encoders, tokens, tmp_path):
    flags = "--batch 20 --epochs 3 --learning-rate 3e-3 --dropout 0.3 --labels negative positive"
    out = tmp_path / "run"
    call(train, train_command(encoders, tokens, out, f"{flags} --keep-checkpoints all"))
    history = pd.read_csv(out / "history.csv")
    names = [f"epoch={row.epoch}-acc={row.valid_accuracy:.4f}" for row in history.itertuples()]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == names
    trained = json.loads((out / "train.json").read_text())
    best = trained["best_epoch"]
    model = load_checkpoint(out / "checkpoint")
    data = load(tokens, "bert", "valid")
    logits = predict_split(model, data, Bounds(64, 10**6), BACKEND)
    loss = Predictions.of(logits, data.labels.numpy()).mean_loss()
    assert trained["valid_loss"] == pytest.approx(loss) and model.dropout.p == 0.3
    heads = [json.loads((out / "checkpoints" / name / "head.json").read_text()) for name in names]
    assert [each["temperature"] for each in heads] == history["temperature"].tolist()
    kept = load_file(out / "checkpoint" / "model.safetensors")
    for number, name in enumerate(names, 1):
        weights = load_file(out / "checkpoints" / name / "model.safetensors")
        same = all(torch.equal(tensor, weights[key]) for key, tensor in kept.items())
        assert same == (number == best)
    call(train, train_command(encoders, tokens, out, f"{flags} --keep-checkpoints best"))
    assert not (out / "checkpoints").exists()  # which were those of another training


@pytest.mark.parametrize("seed", [1, 2])
def test_the_seed_of_a_run_is_that_of_weights_and_order(
    encoders, tokens, tmp_path, monkeypatch, seed
):
    original, seen = Tokens.batch, []

    def spy(self, rows):
        seen.append(rows)
        return original(self, rows)

    monkeypatch.setattr(Tokens, "batch", spy)
    flags = f"--batch 64 --epochs 1 --learning-rate 1e-12 --seed {seed}"
    call(train, train_command(encoders, tokens, tmp_path / "run", flags))
    first = epoch_order(100, seed, epoch=1)[:64]
    assert sorted(torch.cat(seen)[:64].tolist()) == sorted(first.tolist())
    kept = load_checkpoint(tmp_path / "run" / "checkpoint").state_dict()
    for key, tensor in build(encoders, "bert", seed=seed).state_dict().items():
        torch.testing.assert_close(kept[key], tensor, rtol=0, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_a_compiled_model_trains_alike(python, shallow, tokens, tmp_path, architecture):
    flags = "--batch 20 --micro-batch 8 --epochs 2 --dropout 0 --compile"
    for compiled in ("true", "false"):
        out = tmp_path / compiled
        line = train_command(shallow, tokens, out, f"{flags} {compiled}", architecture)
        done = run_train(python, line)
        assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(*histories(tmp_path, "false", "true"), rtol=1e-4)
    assert load_encoder(tmp_path / "true" / "checkpoint", "masked-mean")
