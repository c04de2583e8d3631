"""The device that is chosen, on machines with cards of any kind; no GPU is needed."""

import os
import random
import re
from types import SimpleNamespace

import accelerate
import numpy as np
import pytest
import torch
from test_training import SETTINGS

from lib.command.console import UserError
from lib.training.backends import Accelerate, connect
from lib.training.device import choose, has_kernels, set_determinism

CUDA_13 = ["sm_75", "sm_80", "sm_86", "sm_90", "sm_100", "sm_120"]
WITH_PTX = ["sm_75", "sm_80", "compute_80"]
V100, T4, A100, RTX_4090, H100, B300 = (7, 0), (7, 5), (8, 0), (8, 9), (9, 0), (10, 3)
NAMES = {V100: "Tesla V100", T4: "Tesla T4", A100: "A100", RTX_4090: "RTX 4090"}


@pytest.mark.parametrize(
    ("built", "cards"),
    [
        (CUDA_13, {T4: True, A100: True, RTX_4090: True, H100: True, B300: True, (12, 1): True}),
        (CUDA_13, {V100: False, (6, 0): False, (7, 2): False, (11, 0): False}),
        (["sm_86"], {A100: False, (8, 6): True, RTX_4090: True, H100: False}),
        (WITH_PTX, {V100: False, T4: True, A100: True, H100: True, (12, 0): True}),
        (["sm_50", "compute_70"], {(6, 1): False, V100: True, T4: True, H100: True, (5, 2): True}),
        (["sm_80", "sm_90a"], {H100: True, (9, 1): False, B300: False}),
        (["sm_80", "compute_90a"], {H100: True, (9, 1): False, B300: False}),
        (["sm_100f"], {(10, 0): True, B300: True, (11, 0): False}),
        (["gfx90a", "gfx942"], {(9, 0): True, (9, 4): True}),
        ([], {V100: True}),
    ],
)
def test_cards_run_what_is_built_for_them(built, cards):
    assert {card: has_kernels(card, built) for card in cards} == cards


@pytest.fixture
def machine(monkeypatch):
    """Puts cards into this machine, and tells which of them CUDA is set to."""
    enabled = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(True)
    taken = []

    def put(*cards, rank=None, processes=1, built=CUDA_13):
        names = {
            "is_available": lambda: True,
            "get_arch_list": lambda: built,
            "get_device_capability": lambda number: cards[number],
            "get_device_name": lambda number: NAMES[cards[number]],
            "set_device": taken.append,
        }
        for name, function in names.items():
            monkeypatch.setattr(torch.cuda, name, function)
        if rank is not None:
            monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
            monkeypatch.setenv("LOCAL_RANK", str(rank))
            monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        return taken

    yield put
    torch.backends.cuda.enable_cudnn_sdp(enabled)


LACK = (
    rf"the GPU 'Tesla V100' has compute capability 7\.0, and torch {torch.__version__} is built "
    "for sm_75, sm_80, sm_86, sm_90, sm_100, sm_120 alone"
).replace("+", r"\+")


@pytest.mark.parametrize("device", ["auto", "cuda"])
@pytest.mark.parametrize(
    ("cards", "process", "number"),
    [
        ([T4], {}, 0),
        ([A100, V100], {}, 0),
        ([A100, T4, V100], {"rank": 1, "processes": 2}, 1),
        ([V100], {"built": ["gfx908"]}, 0),
    ],
)
def test_a_card_with_kernels_is_taken(machine, caplog, device, cards, process, number):
    taken = machine(*cards, **process)
    assert choose(device).type == "cuda" and taken == [number]
    assert not torch.backends.cuda.cudnn_sdp_enabled() and not caplog.text
    assert torch.backends.cuda.flash_sdp_enabled() and torch.backends.cuda.math_sdp_enabled()


@pytest.mark.parametrize(
    ("cards", "process", "lines"),
    [
        ([V100], {}, 1),
        ([V100, A100], {}, 1),
        ([A100, V100], {"rank": 0, "processes": 2}, 1),  # all on the CPU, and one tells it
        ([V100, A100], {"rank": 1, "processes": 2}, 0),
    ],
)
def test_a_card_without_kernels_is_passed_over(machine, caplog, cards, process, lines):
    taken = machine(*cards, **process)
    assert choose("auto").type == "cpu" and not taken
    assert [record.levelname for record in caplog.records] == ["WARNING"] * lines
    line = rf"the CPU computes, since {LACK}; set device: cpu in training, so that as many"
    assert all(re.match(line, message) for message in caplog.messages)
    with pytest.raises(UserError, match=rf"^{LACK}; set device to cpu, or install a torch that"):
        choose("cuda")
    caplog.clear()
    assert choose("cpu").type == "cpu" and not caplog.text
    assert torch.backends.cuda.cudnn_sdp_enabled()


@pytest.fixture
def group(monkeypatch):
    """Stands for Accelerate, which sets threads, and tells how all was when it was built."""
    built, deterministic = [], torch.are_deterministic_algorithms_enabled()

    def build(**options):
        torch.set_num_threads(2)
        torch.rand(3), np.random.rand(3), random.random()
        found = {name: x for name, x in os.environ.items() if name.startswith("NCCL_")}
        built.append((torch.are_deterministic_algorithms_enabled(), found, options))
        return SimpleNamespace(process_index=0, num_processes=1)

    monkeypatch.setattr(accelerate, "Accelerator", build)
    for name in ("NCCL_P2P_DISABLE", "NCCL_IB_DISABLE"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield built
    set_determinism(deterministic)


@pytest.mark.parametrize("deterministic", [True, False])
def test_algorithms_threads_and_seeds_are_as_asked_for(group, deterministic):
    set_determinism(not deterministic)
    asked = {"backend": "accelerate", "threads": 1, "deterministic": deterministic}
    connect(SETTINGS | asked, seed=5)
    ((found, _, options),) = group
    assert found is torch.are_deterministic_algorithms_enabled() is deterministic
    assert torch.get_num_threads() == 1 and options["mixed_precision"] == "no"
    drawn = torch.rand(3), np.random.rand(3), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    assert torch.equal(drawn[0], torch.rand(3)) and (drawn[1] == np.random.rand(3)).all()
    assert drawn[2] == random.random()


NVIDIA_SMI = """#!/bin/sh
case "$1" in
  --query-gpu=count,name) {names} ;;
  --query-gpu=driver_version) echo {driver} ;;
esac
"""
OFF = {"NCCL_P2P_DISABLE": "1", "NCCL_IB_DISABLE": "1"}


@pytest.mark.parametrize(
    ("cards", "driver", "given", "expected"),
    [
        (["NVIDIA GeForce RTX 4090"] * 2, "535.183.01", {}, OFF),
        (["NVIDIA GeForce RTX 4090"] * 2, "550.40.07", {}, {}),
        (["NVIDIA GeForce RTX 4090"], "535.183.01", {}, {}),
        (["NVIDIA A100-SXM4-80GB"] * 2, "535.183.01", {}, {}),
        (
            ["NVIDIA GeForce RTX 4060"] * 2,
            "535.183.01",
            {"NCCL_P2P_DISABLE": "0"},
            {"NCCL_P2P_DISABLE": "0", "NCCL_IB_DISABLE": "1"},
        ),
    ],
)
def test_links_that_cards_lack_are_not_used(
    group, tmp_path, monkeypatch, cards, driver, given, expected
):
    command = tmp_path / "nvidia-smi"
    names = "; ".join(f"echo '{len(cards)}, {name}'" for name in cards)
    command.write_text(NVIDIA_SMI.format(names=names, driver=driver))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    Accelerate(torch.device("cpu"), "fp32")
    assert group[0][1] == given
    Accelerate(torch.device("cuda"), "fp32")
    assert group[1][1] == expected


@pytest.mark.parametrize(
    ("precision", "has", "rank", "told"),
    [
        ("bf16", {"avx512_bf16": False, "amx_bf16": False, "avx2": True}, None, True),
        ("bf16", {"avx512_bf16": True, "amx_bf16": False}, None, False),
        ("bf16", {"avx512_bf16": False, "amx_fp16": True}, 0, True),
        ("bf16", {}, 1, False),  # another process tells it
        ("fp16", {"avx512_bf16": True}, None, True),
        ("fp32", {}, None, False),
        ("auto", {}, None, False),
    ],
)
def test_a_precision_that_the_processor_emulates_is_told(
    machine, monkeypatch, caplog, precision, has, rank, told
):
    machine(rank=rank)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    connect(SETTINGS | {"precision": precision, "device": "cpu", "backend": "torch"}, seed=5)
    assert ("emulates it, which is slower than fp32; set precision to" in caplog.text) is told
