"""Several processes of one command, started by torchrun."""

import logging
import os
import sys
import tempfile

from lib.command.console import give_back_terminal
from lib.command.timing import STARTED, started
from lib.training import gpus

# Set by schedulers and MPI, and read by Accelerate as if there were more processes.
FOREIGN = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")
FOREIGN_PREFIXES = ("PMI_", "OMPI_COMM_WORLD_", "MV2_COMM_WORLD_", "MPI_LOCAL")


def is_worker() -> bool:
    """Whether this process is one of those that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def forget_other_launchers() -> None:
    """Remove variables by which another launcher numbers processes: this one is alone."""
    for name in [*os.environ]:
        if name in FOREIGN or name.startswith(FOREIGN_PREFIXES):
            del os.environ[name]


def launched(device: str, processes: int) -> bool:
    """Whether the work of this command was done by several processes, which it then has started.

    The GPUs are claimed before, by the one process that is not a worker.

    Args:
        device: as in the configuration.
        processes: that share the work.

    Raises:
        UserError: this machine has too few GPUs.
    """
    if is_worker():
        return False
    forget_other_launchers()
    gpus.claim(device, processes)
    if processes > 1:
        launch(processes)
    return processes > 1


def launch(processes: int) -> None:
    """Run this command again, in several processes on this machine, and end as they end."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    give_back_terminal()
    os.environ[STARTED] = str(started())
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torchrun warns otherwise; --threads sets it
    logging.disable(logging.ERROR)  # the processes tell themselves what goes wrong
    try:
        with tempfile.TemporaryDirectory() as logs:
            flags = ["--standalone", f"--nproc-per-node={processes}", f"--log-dir={logs}"]
            torchrun([*flags, "--", *sys.argv])
        sys.exit()  # the first process has told how long it took
    except ChildFailedError as error:  # whose message the process has shown
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:
        sys.exit(128 + error.sigval)
