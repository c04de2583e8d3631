"""A training that is short of memory: `gpu_memory.py DEVICE BYTES FLAG ...` is `train.py FLAG ...`.

On a card, the allocator of torch gives it so many bytes at most. On a CPU, the address space of its
process grows by so many, once it has trained before and so has all libraries.
"""

import os
import resource
import sys
import tempfile

import psutil

import train
from lib.command import cli
from lib.forks.client import ADDRESS

FIRST = ("--examples", "16", "--epochs", "1", "--updates", "1", "--micro-batch", "1")


def limit_card(most: int) -> None:
    """Let this process have so many bytes of a card, or all if it has fewer."""
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, most / total))


def limit_process(spare: int, words: list[str]) -> None:
    """Train a little, as the words say; from then on, let this process have so many bytes more."""
    with tempfile.TemporaryDirectory() as run:
        train.main(train.arguments().parse_args([*words, *FIRST, "--run", run]))
    most = psutil.Process().memory_info().vms + spare
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def main(device: str, spare: int, words: list[str]) -> None:
    """Train as the words say, with little memory."""
    if device == "cuda":
        limit_card(spare)
    else:
        limit_process(spare, words)
    os.environ.pop(ADDRESS, None)  # a fork would not have the limit
    sys.argv = ["train.py", *words]
    cli.run(train.main, train.arguments())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
