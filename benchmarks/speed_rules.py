"""One run as the workflow runs it: commands in forks of a server, one after another."""

import itertools
import subprocess
import sys

from lib import forkserver

AND = "and"  # between two commands


def main() -> None:
    """Run commands, until one fails."""
    forkserver.start()
    for is_command, words in itertools.groupby(sys.argv[1:], lambda word: word != AND):
        if is_command:
            subprocess.run([sys.executable, *words], check=True)


if __name__ == "__main__":
    main()
