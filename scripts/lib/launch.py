"""Several processes of one command, started by torchrun."""

import logging
import os
import sys


def is_worker() -> bool:
    """Whether this process is one of those that torchrun started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(processes: int) -> None:
    """Run this command again, in several processes on this machine, and end as they end."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torchrun warns otherwise; --threads sets it
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    try:
        torchrun(["--standalone", f"--nproc-per-node={processes}", "--", *sys.argv])
    except ChildFailedError as error:  # whose message the process has shown
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as error:
        sys.exit(128 + error.sigval)
