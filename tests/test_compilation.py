"""What is compiled: what it needs, the rotary embedding alone, and that it changes no result."""

import copy
import os
import sys

import pytest
import torch
from test_training import BACKEND, build, gradient, load

from lib.command.console import UserError
from lib.training import compilation
from lib.training.batches import Bounds
from lib.training.compilation import (
    FUNCTION,
    compile_part,
    compile_rotary,
    compiled_part,
    lacks_of,
    rotary_modules,
)
from lib.training.loop import accumulate

CPU, GPU = torch.device("cpu"), torch.device("cuda")
HEADER = "Python.h (of the package python3-dev)"


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Ask anew in every test, where no variable names a compiler."""
    compiled_part.cache_clear()
    for name in ("CC", "CXX"):
        monkeypatch.delenv(name, raising=False)
    yield
    compiled_part.cache_clear()


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """What puts commands on a path that is empty but for them."""

    def put(*names: str) -> None:
        for name in names:
            (tmp_path / name).write_text("")
            (tmp_path / name).chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path))
    return put


@pytest.mark.parametrize(("device", "names"), [(GPU, ["gcc", "clang"]), (CPU, ["g++"])])
def test_a_gpu_needs_triton_and_a_c_compiler_and_a_cpu_one_of_cpp(
    monkeypatch, commands, device, names
):
    language = {"cuda": "C", "cpu": "C++"}[device.type]
    compiler = f"a {language} compiler ({' or '.join(names)})"
    triton = ["Triton"] if device == GPU else []
    monkeypatch.setattr(compilation, "find_spec", lambda name: None)
    commands("cc", *(["g++", "clang++"] if device == GPU else ["gcc", "clang"]))  # of no use
    assert lacks_of(device) == [*triton, compiler]
    monkeypatch.setattr(compilation, "find_spec", lambda name: name == "triton")
    assert lacks_of(device) == [compiler]
    commands(names[-1])
    assert lacks_of(device) == []
    monkeypatch.setenv("CC" if device == GPU else "CXX", "icx")  # then nothing else is tried
    assert lacks_of(device) == [f"a {language} compiler (icx)"]
    commands("icx")
    assert lacks_of(device) == []
    monkeypatch.setattr(compilation.sysconfig, "get_path", lambda *_: os.devnull)
    assert lacks_of(device) == [HEADER]


def test_what_is_compiled_depends_on_the_device_and_on_the_setting(monkeypatch, caplog):
    monkeypatch.setattr(compilation, "lacks_of", lambda device: [])
    monkeypatch.setattr(compilation, "failure", lambda device: "")
    found = {x: [compiled_part(x, device) for device in (CPU, GPU)] for x in (False, "auto", True)}
    assert found == {
        False: ["nothing", "nothing"],
        "auto": ["nothing", "rotary"],
        True: ["model", "model"],
    }
    assert not caplog.messages


@pytest.mark.parametrize(
    ("lacks", "failed", "message", "advice"),
    [
        (["Triton", HEADER], "", f"needs Triton and {HEADER}", "install that, or set it to false"),
        ([], "does not work here (too old)", "does not work here (too old)", "set it to false"),
    ],
)
def test_where_compiling_fails_auto_warns_and_true_is_refused(
    monkeypatch, caplog, lacks, failed, message, advice
):
    monkeypatch.setattr(compilation, "lacks_of", lambda device: lacks)
    monkeypatch.setattr(compilation, "failure", lambda device: failed)
    for _ in range(2):
        assert compiled_part("auto", GPU) == "nothing"
    assert caplog.messages == [f"nothing is compiled: compile {message}"]  # once
    for device in (CPU, GPU):
        assert compiled_part(False, device) == "nothing"
        with pytest.raises(UserError) as error:
            compiled_part(True, device)
        assert str(error.value) == f"compile {message}; {advice}"


def test_where_a_trial_fails_its_reason_is_told_in_a_line():
    failed = compilation.failure(GPU)  # there is none
    assert failed.startswith("does not work here (") and "\n" not in failed


def test_encoders_without_a_rotary_embedding_are_left_alone(encoders):
    model = build(encoders, "bert")
    assert rotary_modules(model.encoder) == []
    compile_rotary(model.encoder)
    assert not model.encoder._forward_hooks and not model.encoder._forward_pre_hooks


def test_a_model_tells_what_of_it_is_compiled(encoders, monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr(compilation, "lacks_of", lambda device: asked.append(device) or [])
    monkeypatch.setattr(compilation, "failure", lambda device: "")
    told = {}
    for architecture in ("bert", "modernbert"):
        for setting in (False, "auto", True):
            model = build(encoders, architecture)
            asked.clear()
            compiled_part.cache_clear()
            compile_part(model, setting, GPU)
            told[architecture, setting] = model.compiled, len(asked)
            assert (model._compiled_call_impl is not None) == (model.compiled == "model")
            assert bool(model.encoder._forward_hooks) == (model.compiled == "rotary")
    assert told == {
        ("bert", False): ("nothing", 0),
        ("bert", "auto"): ("nothing", 0),  # nobody asks for a compiler that has nothing to do
        ("bert", True): ("model", 1),
        ("modernbert", False): ("nothing", 0),
        ("modernbert", "auto"): ("rotary", 1),
        ("modernbert", True): ("model", 1),
    }


def test_the_function_is_replaced_in_the_passes_of_one_encoder_alone(encoders, monkeypatch):
    one, other = build(encoders, "modernbert"), build(encoders, "modernbert")
    (module,) = rotary_modules(one.encoder)
    eager, used = getattr(module, FUNCTION), []
    assert module is sys.modules[type(one.encoder).__module__] and callable(eager)

    def compiled(function, **options):
        assert function is eager and options == {"dynamic": True}
        return lambda *arguments, **given: used.append(1) or function(*arguments, **given)

    monkeypatch.setattr(torch, "compile", compiled)
    compile_rotary(one.encoder)
    ids = {"input_ids": torch.ones(2, 5, dtype=torch.long)}
    inputs = ids | {"attention_mask": torch.ones(2, 5, dtype=torch.bool)}
    one(inputs)
    assert len(used) == len(one.encoder.layers) and getattr(module, FUNCTION) is eager
    other(inputs)
    assert len(used) == len(one.encoder.layers)
    with pytest.raises(IndexError):
        one.encoder(input_ids=ids["input_ids"] + 10**6)
    assert getattr(module, FUNCTION) is eager


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of the compiler itself
def test_a_compiled_rotary_embedding_gives_the_same_losses_and_gradients(encoders, tokens):
    assert compilation.failure(CPU) == ""
    torch._dynamo.utils.counters.clear()
    data, model = load(tokens, "modernbert"), build(encoders, "modernbert")
    other = copy.deepcopy(model)
    compile_rotary(model.encoder)
    for rows in (torch.arange(1), torch.arange(8), torch.arange(20, 29)):
        losses = [accumulate(x, data, rows, Bounds(5, 10**6), BACKEND)[0] for x in (model, other)]
        torch.testing.assert_close(*losses)
        torch.testing.assert_close(gradient(model), gradient(other))
        model.zero_grad(), other.zero_grad()
        with torch.inference_mode():
            torch.testing.assert_close(model(data.batch(rows)), other(data.batch(rows)))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0  # something was compiled
