"""What is told last when jobs have failed: a line for each, with its reason and its log.

The rest of what Snakemake says of a failed job, its command above all, stands before these lines.
"""

import atexit
import logging
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

STATUS = re.compile(r"returned non-zero exit status (\d+)|died with <Signals\.\w+: (\d+)>")
BY_SIGNAL = 128  # what shells add to the number of the signal that ended a command


class Failures(logging.Handler):
    """The jobs that failed and were not repeated with success, as Snakemake's messages tell."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: dict[int, float] = {}  # when, by job
        self.said: dict[int | None, str] = {}  # by thread: why the job fails that it tells of next
        self.lines: dict[int, str] = {}  # by job

    def emit(self, record: Any) -> None:
        """Take note of what a message tells of a job."""
        match getattr(record, "event", None):
            case LogEvent.ERROR:
                self.said[record.thread] = record.getMessage()
            case LogEvent.JOB_INFO:
                self.begun[record.jobid] = record.created
            case LogEvent.JOB_FINISHED:
                self.lines.pop(record.job_id, None)
            case LogEvent.JOB_ERROR:
                said = self.said.pop(record.thread, record.rule_msg or "failed")
                since = self.begun.get(record.jobid, 0.0)
                self.lines[record.jobid] = describe(record.rule_name, record.log, said, since)

    def tell(self) -> None:
        """Write the lines on the terminal."""
        if lines := [line for line in self.lines.values() if line]:
            print("", *lines, sep="\n", file=sys.stderr)


def watch() -> None:
    """Take note of the jobs that fail from now on, and tell of them as this process ends."""
    failures = Failures()
    logger.addHandler(failures)
    atexit.register(failures.tell)


def describe(rule: str, logs: Sequence[str], said: str, since: float) -> str:
    """Why a job failed, on one line.

    Args:
        rule: of the job, which runs the command of its name.
        logs: its log, and after it those of a cluster.
        said: what Snakemake says, with the exit status where the job ran on this machine.
        since: when the job began; an older log is that of an earlier one.

    Returns:
        The line; an empty one where the user has stopped the job.
    """
    found = STATUS.search(said)
    status = int(found[1] or BY_SIGNAL + int(found[2])) if found else None
    written = [path for path in map(Path, logs) if path.is_file() and path.stat().st_mtime >= since]
    where = f"; log: {written[0]}" if written else "; it left no log, see the messages above"
    text = written[0].read_text("utf-8", "replace") if written else ""
    if status == BY_SIGNAL + signal.SIGINT:
        return ""
    if status == BY_SIGNAL + signal.SIGKILL:
        return f"{rule}.py: error: killed (signal 9), perhaps for lack of memory{where}"
    if status is not None and status > BY_SIGNAL:
        return f"{rule}.py: error: ended by signal {status - BY_SIGNAL}{where}"
    # The first one: of several processes, the one that fails ends the others.
    if reason := re.search(rf"^{rule}\.py: error: .+", text, re.MULTILINE):
        return f"{reason[0]}{where}"
    ending = f"exit status {status}" if status is not None else " ".join(said.split())
    return f"{rule}.py: error: {': '.join([ending, *text.splitlines()[-1:]])}{where}"
