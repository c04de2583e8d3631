"""Precisions: which device has which, TF32 that is off again, and fp16 with scaled losses."""

import json
import math
import os
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from conftest import ROOT, call
from test_backends import histories, run_train, train_command
from test_resume import OWN, Cut, Interrupted
from test_training import CPU, SETTINGS, Synchronisations, build, load
from test_training import fit as fit_plainly
from torch.amp import GradScaler
from torch.optim import Adam
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import DebertaConfig, DebertaModel

import evaluate
import predict
import train
from lib.command.console import UserError
from lib.training import flops, loop
from lib.training.backends import Accelerate, Torch
from lib.training.batches import Bounds
from lib.training.device import choose_precision
from lib.training.flops import peak_flops
from lib.training.loop import Recipe
from lib.training.model import Classifier
from lib.training.saving import Saving

CHANGES = {"epochs": 2, "scheduler": "linear", "warmup": 0.4, "learning_rate": 3e-3}


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    matmul.allow_tf32, cudnn.allow_tf32 = before


@pytest.mark.parametrize(
    ("device", "major", "found"),
    [
        ("cuda", 7, {"auto": "fp32", "fp32": "fp32", "tf32": None, "bf16": None, "fp16": "fp16"}),
        ("cuda", 8, {"auto": "bf16", "fp32": "fp32", "tf32": "tf32", "fp16": "fp16"}),
        ("cpu", 0, {"auto": "fp32", "tf32": None, "bf16": "bf16", "fp16": "fp16"}),
        ("mps", 0, {"auto": "fp32", "tf32": None, "bf16": "bf16", "fp16": "fp16"}),
    ],
)
def test_a_precision_is_that_of_the_device_or_refused(monkeypatch, device, major, found):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: device == "cuda")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    card = SimpleNamespace(major=major)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    for asked, expected in found.items():
        if expected:
            assert choose_precision(asked, torch.device(device)) == expected
        else:
            with pytest.raises(UserError, match=rf"{asked}.*set precision to auto"):
                choose_precision(asked, torch.device(device))


def switches() -> set[bool]:
    """What all that tell it say of TF32 in products and convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    newer = (matmul, cudnn.conv, cudnn.rnn)
    legacy = {"highest": False, "high": True}[torch.get_float32_matmul_precision()]
    told = {part.fp32_precision == "tf32" for part in newer}
    return told | {legacy, matmul.allow_tf32, cudnn.allow_tf32}


@pytest.mark.parametrize("backend", [Torch, Accelerate])
def test_tf32_is_on_where_it_is_asked_for_and_off_again(backend):
    for precision in ("fp32", "tf32", "fp32", "tf32", "bf16", "tf32", "fp16"):
        one = backend(CPU, precision)
        assert switches() == {precision == "tf32"}
        with one.autocast():
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        names = {"bf16": torch.bfloat16, "fp16": torch.float16}
        assert product.dtype == names.get(precision, torch.float32)


@pytest.mark.slow
def test_no_variable_turns_tf32_on(python):
    script = (
        "import torch; from lib.training.backends import connect\n"
        "assert torch.backends.cuda.matmul.allow_tf32\n"
        "from test_training import SETTINGS\n"
        "connect(SETTINGS | {'backend': 'torch'}, 1)\n"
        "from test_precision import switches; assert switches() == {False}\n"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT}/scripts:{ROOT}/tests"}
    environment["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"] = "1"
    subprocess.run([python, "-c", script], env=environment, check=True)


class Products(TorchDispatchMode):
    """Keeps the first operand of every product, and whether TF32 is on."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        if "mm" in str(function):
            self.found.append((arguments[0], switches()))
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16", "fp16"])
def test_the_peak_is_that_of_random_numbers_in_the_same_precision(monkeypatch, precision):
    monkeypatch.setattr(flops, "MATRIX", {"cpu": 64})
    state = torch.get_rng_state()
    with Products() as products:
        assert peak_flops(CPU, precision) > 0
    assert torch.equal(torch.get_rng_state(), state)
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    for matrix, tf32 in products.found:
        assert matrix.dtype == dtype and tf32 == {precision == "tf32"}
        assert matrix.float().std() == pytest.approx(1, abs=0.1)
        assert matrix.float().mean() == pytest.approx(0, abs=0.1)
    assert len(products.found) == flops.PRODUCTS


def half(scale: float = 2.0**16, interval: int = 2000, kind: type[Torch] = Torch) -> Torch:
    """A back-end in fp16, whose scale begins with this and doubles after so many updates."""
    backend = kind(CPU, "fp16")
    backend.scaler = GradScaler("cpu", init_scale=scale, growth_interval=interval)
    return backend


@pytest.mark.parametrize("kind", [Torch, Accelerate])
def test_fp16_trains_nearly_as_fp32_does(encoders, tokens, kind):
    data, valid = load(tokens, "bert"), load(tokens, "bert", "valid")
    _, losses = fit_plainly(build(encoders, "bert"), data, valid, batch=20)
    model, backend = build(encoders, "bert"), kind(CPU, "fp16")
    assert backend.scaler.is_enabled() and backend.scaler.get_scale() > 1
    result, low = fit_plainly(model, data, valid, batch=20, backend=backend)
    assert low == pytest.approx(losses, abs=0.01) and low != losses
    assert result.skipped == 0 and result.best.learning_rate == SETTINGS["learning_rate"]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("kind", [Torch, Accelerate])
def test_gradients_that_vanish_in_fp16_are_learned_from(kind):
    weights = []
    for backend in (Torch(CPU, "fp32"), half(kind=kind)):
        layer = torch.nn.Linear(4, 4, bias=False)
        torch.nn.init.eye_(layer.weight)
        with backend.autocast():
            out = layer(torch.ones(2, 4))
        backend.backward((out.float() * 1e-8).sum())  # less than the smallest number of fp16
        assert backend.step(torch.optim.SGD(layer.parameters(), lr=1e8))
        weights.append(layer.weight.detach())
    assert weights[0][0, 0] == pytest.approx(-1)
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("kind", [Torch, Accelerate])
@pytest.mark.parametrize("fused", [True, False])
def test_an_update_is_made_or_skipped_whole(kind, fused):
    backend = half(2.0**20, 2, kind)
    layer, plain = torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)
    plain.load_state_dict(layer.state_dict())
    pairs = list(zip(layer.parameters(), plain.parameters(), strict=True))
    inner, other = (Adam(x.parameters(), lr=0.1, fused=fused) for x in (layer, plain))
    optimizer, scales = backend.prepare(inner), []
    for number, worst in enumerate([1, 1, math.inf, math.nan, 1]):
        for own, its in pairs:
            its.grad = torch.full_like(its, 0.5 + number)
            own.grad = its.grad * backend.scaler.get_scale()
        pairs[-1][0].grad[-1] *= worst
        assert backend.step(optimizer) is (worst == 1)
        if worst == 1:
            other.step()
        for own, its in pairs:
            assert torch.equal(own, its)
            assert all(torch.equal(inner.state[own][key], x) for key, x in other.state[its].items())
        scales.append(backend.scaler.get_scale())
    assert scales == [2.0**power for power in (20, 21, 20, 19, 19)]


def test_a_scale_of_zero_makes_no_update():
    backend = half(0.0)
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.full((2,), torch.nan)
    assert not backend.step(Adam([parameter], fused=True)) and parameter.eq(1).all()


@pytest.mark.parametrize(("precision", "waits"), [("fp32", 0), ("bf16", 0), ("fp16", 1)])
def test_an_update_waits_for_the_device_in_fp16_alone_and_once(precision, waits):
    backend = Torch(CPU, precision)
    parameter = torch.nn.Parameter(torch.ones(2))
    parameter.grad = torch.ones(2)
    optimizer = Adam([parameter], fused=True)
    with Synchronisations() as synchronisations:
        assert backend.step(optimizer)
    assert synchronisations.count == waits


def fit(encoders, tokens, backend: Torch, saving=None, told=None):
    """Train a model with dropout; return what it comes to, and its result."""
    data = load(tokens, "bert"), load(tokens, "bert", "valid")
    model = build(encoders, "bert")
    model.dropout.p = 0.3
    updates = [] if told is None else told
    recipe = Recipe(16, 5, SETTINGS | CHANGES)  # seven updates to an epoch
    result = loop.train(model, data, recipe, backend, lambda _, x: updates.append(x), saving)
    weights = {key: tensor.tolist() for key, tensor in model.state_dict().items()}
    epochs = [replace(epoch, seconds=0) for epoch in result.history]
    return (weights, epochs, result.skipped, backend.scaler.state_dict()), result


@pytest.mark.parametrize(("scale", "many"), [(2.0**24, True), (2.0**10, False)])
def test_updates_that_overflow_move_the_scale_alone(encoders, tokens, caplog, scale, many):
    backend, told, made = half(scale), [], []
    step = backend.step

    def spy(optimizer):
        made.append(step(optimizer))
        return made[-1]

    backend.step = spy
    _, result = fit(encoders, tokens, backend, told=told)
    rates = [rate for updates in told for rate in updates.rates]
    steps = [sum(made[:update]) for update in range(14)]  # of the schedule, before each update
    rising, falling = [step / 6 for step in steps], [(14 - step) / 8 for step in steps]
    assert rates == pytest.approx([3e-3 * min(x) for x in zip(rising, falling, strict=True)])
    skipped = made.count(False)
    assert result.skipped == skipped and len(made) == result.history[-1].updates == 14
    assert backend.scaler.get_scale() == scale / 2**skipped
    assert (2 < skipped < 12) is many and ("changed no weight" in caplog.text) is many
    line = f"{skipped} of 14 updates changed no weight, since their gradients in fp16"
    assert (line in caplog.text) is many


def test_an_overflow_leaves_the_weights_as_they_were(encoders, tokens):
    data, model = load(tokens, "bert"), build(encoders, "bert")
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    settings = SETTINGS | {"updates": 2, "learning_rate": 0.1}
    result = loop.train(model, (data, data), Recipe(64, 5, settings), half(2.0**60))
    assert result.skipped == 2 and not result.diverged
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())


@pytest.fixture(scope="module")
def whole(encoders, tokens):
    """What a training in fp16 comes to that nothing interrupts."""
    found, result = fit(encoders, tokens, half(2.0**22, 3))
    assert 1 < result.skipped < 12  # and the scale has grown in between
    return found


@pytest.mark.parametrize("after", [1, 4, 6, 7, 9, 12])  # of 14 updates, 7 in an epoch
def test_a_training_in_fp16_goes_on_to_the_same_bytes(encoders, tokens, whole, tmp_path, after):
    saving = Interrupted(tmp_path, OWN, 1)
    saving.updates = after
    with pytest.raises(Cut):
        fit(encoders, tokens, half(2.0**22, 3), saving)
    torch.manual_seed(99)
    found, _ = fit(encoders, tokens, half(2.0**22, 3), Saving(tmp_path, OWN, 1))
    assert found == whole


def test_a_run_in_fp16_is_told_tested_and_used(encoders, tokens, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(flops, "MATRIX", {"cpu": 64})
    monkeypatch.setattr(train, "launched", lambda *_: False)
    out = tmp_path / "run"
    flags = "--batch 20 --epochs 2 --learning-rate 3e-3 --precision fp16"
    call(train, train_command(encoders, tokens, out, flags))
    trained = json.loads((out / "train.json").read_text())
    assert (trained["precision"], trained["updates"], trained["updates_skipped"]) == ("fp16", 10, 0)
    labels = []
    for precision in ("fp16", "fp32"):
        line = f"--tokens {tokens['bert']}/test.parquet --run {out} --device cpu"
        call(evaluate, f"{line} --precision {precision}")
        capsys.readouterr()
        call(predict, f"{out} --text film --device cpu --precision {precision}")
        labels.append(json.loads(capsys.readouterr().out)["confidence"])
    assert labels[0] == pytest.approx(labels[1], abs=0.01) and labels[0] != labels[1]


@pytest.mark.slow
def test_two_processes_in_fp16_train_as_one_does(python, encoders, tokens, tmp_path):
    flags = "--batch 33 --epochs 2 --dropout 0 --precision fp16"  # one of 100 is the last update
    one, two = (f"{flags} --backend {more}" for more in ("torch", "accelerate --processes 2"))
    for name, line in (("1", one), ("2", two)):
        done = run_train(python, train_command(encoders, tokens, tmp_path / name, line))
        assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(*histories(tmp_path, "1", "2"), rtol=5e-3)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_an_encoder_that_fails_in_a_precision_is_refused_in_a_line(encoders, tokens, precision):
    config = DebertaConfig(
        vocab_size=600, hidden_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    data, model = load(tokens, "bert"), Classifier(DebertaModel(config), "masked-mean", 2, 0.0)
    backend, rows = Torch(CPU, precision), torch.arange(8)
    with pytest.raises(UserError, match=f"a pass in {precision} has failed .* to fp32$") as told:
        loop.accumulate(model, data, rows, Bounds(8, 10**6), backend)
    assert "\n" not in str(told.value) and not torch.is_autocast_enabled("cpu")
    with pytest.raises(UserError, match=f"a pass in {precision} has failed"):
        loop.predict(model, data.select(rows), Bounds(8, 10**6), backend)
    loop.accumulate(model, data, rows, Bounds(8, 10**6), Torch(CPU, "fp32"))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        torch.distributed.DistError("another process"),
        torch._dynamo.exc.TorchDynamoException("of the compiler"),
        ValueError("of something else"),
    ],
)
def test_no_other_error_is_blamed_on_a_precision(error):
    with pytest.raises(type(error)) as raised, Torch(CPU, "bf16").autocast():
        raise error
    assert raised.value is error
