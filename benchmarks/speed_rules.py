"""Runs as the workflow runs them: commands in forks of a server, one after another.

After each command it prints the seconds and the CPU seconds since this process started.
"""

import itertools
import subprocess
import sys
import time

import psutil

from lib.forks import client
from lib.study import code

AND = "and"  # between two commands


def main() -> None:
    """Run commands, until one fails."""
    own = psutil.Process()
    client.start({name: code.modules_of(name) for name in ("train", "evaluate")})
    for is_command, words in itertools.groupby(sys.argv[1:], lambda word: word != AND):
        if is_command:
            subprocess.run([sys.executable, *words], check=True)
            used = sum(sum(each.cpu_times()[:4]) for each in (own, *own.children()))
            print(time.time() - own.create_time(), used)


if __name__ == "__main__":
    main()
