"""Memory that is short: on a card, since this process takes it; on the CPU, by a limit.

`gpu_memory.py hold BYTES` takes all of the memory of a card but that, says so, and keeps it until
its standard input ends. `gpu_memory.py limit BYTES FLAG ...` is `train.py FLAG ...` in a process
whose address space grows by so much at most, once it has trained before and so has all libraries.
"""

import os
import resource
import sys
import tempfile

import psutil

import train
from lib.command import cli
from lib.forks.client import ADDRESS

HELD = "held"
FIRST = ("--examples", "16", "--epochs", "1", "--updates", "1", "--micro-batch", "1")


def hold(spare: int) -> None:
    """Take all free memory of the card but `spare` bytes, until standard input ends."""
    import torch  # which who starts this does not need

    free, _ = torch.cuda.mem_get_info()
    kept = torch.empty(max(0, free - spare), dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    print(HELD, len(kept), flush=True)
    sys.stdin.read()


def limit(spare: int, words: list[str]) -> None:
    """Train a little, then as the words say, with `spare` bytes more than was taken by then."""
    with tempfile.TemporaryDirectory() as run:
        train.main(train.arguments().parse_args([*words, *FIRST, "--run", run]))
    most = psutil.Process().memory_info().vms + spare
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    os.environ.pop(ADDRESS, None)  # a fork would not have the limit
    sys.argv = ["train.py", *words]
    cli.run(train.main, train.arguments())


if __name__ == "__main__":
    if sys.argv[1] == "hold":
        hold(int(sys.argv[2]))
    else:
        limit(int(sys.argv[2]), sys.argv[3:])
