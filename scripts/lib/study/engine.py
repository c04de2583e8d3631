"""What the workflow uses of Snakemake and its Slurm plugin beyond their documented interfaces.

It stands here alone, so that the next version of Snakemake breaks one file.
"""

import atexit
import logging
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from lib.command.console import UserError
from lib.command.timing import read_took

NO_ACCOUNT = "accounting storage is disabled"  # as sacct says it
PATIENCE = 60  # seconds that sacct may take, as the plugin has
ENDED = " ended by SIG"  # in the last line of a log, as cli.py writes it


class Engine:
    """The running workflow.

    Args:
        workflow: that of Snakemake.
    """

    def __init__(self, workflow: Any) -> None:
        self.workflow = workflow
        self.modifier = workflow.modifier  # that of a module, while its Snakefile is read
        self.is_module = not self.modifier.is_main_snakefile()
        self.config_files: list[str] = workflow.overwrite_configfiles or []

    def place(self, path: str) -> str:
        """Where a result is, with the prefix that a module may have before it."""
        return str(self.modifier.modify_path(path))

    def all_cores(self, _: Any) -> int:
        """All cores that Snakemake may use on this machine, as the threads of a rule."""
        return self.workflow.cores or 1

    def bound_gpus(self, count: int) -> None:
        """Let no more jobs compute on GPUs at a time than there are GPUs.

        Unless --resources says otherwise, or the jobs run on nodes of a cluster.
        """
        on_nodes = self.workflow.resource_settings.nodes is not None
        if count and not on_nodes and "gpu" not in self.workflow.global_resources:
            self.workflow.register_resource("gpu", count)

    def is_here(self) -> bool:
        """Whether all jobs run on this machine."""
        return not self.workflow.non_local_exec

    def watch(self) -> None:
        """Tell of failed jobs at the end; on Slurm, keep from waiting for ever.

        Raises:
            UserError: the study would wait for ever.
        """
        failures = Failures()
        if self.workflow.executor_plugin.name == "slurm":
            check_slurm(self.workflow.executor_settings)
            keep_asking()
            logger.info("why jobs wait: squeue --me --states=PENDING --format='%i %k: %r'")
        logger.addHandler(failures)
        atexit.register(failures.tell)


class Failures(logging.Handler):
    """The jobs that failed and were not repeated with success, as Snakemake's events tell."""

    def __init__(self) -> None:
        super().__init__()
        self.begun: dict[int, float] = {}  # when, by job
        self.lines: dict[int, str] = {}  # by job

    def emit(self, record: Any) -> None:
        """Take note of what an event tells of a job."""
        match getattr(record, "event", None):
            case LogEvent.JOB_INFO:
                self.begun[record.jobid] = record.created
            case LogEvent.JOB_FINISHED:
                self.lines.pop(record.job_id, None)
            case LogEvent.JOB_ERROR:
                since = self.begun.get(record.jobid, 0.0)
                self.lines[record.jobid] = why(record.rule_name, record.log, since)

    def tell(self) -> None:
        """Write the lines on the terminal, after all that Snakemake says."""
        if lines := [line for line in self.lines.values() if line]:
            print("", *lines, sep="\n", file=sys.stderr)


def why(rule: str, logs: Sequence[str], since: float) -> str:
    """Why a job failed, on one line, from its log.

    Args:
        rule: of the job, which runs the command of its name.
        logs: its log, and after it those of a cluster.
        since: when the job began; an older log is that of an earlier one.

    Returns:
        The line; an empty one where the user has stopped the job.
    """
    written = [path for path in map(Path, logs) if path.is_file() and path.stat().st_mtime >= since]
    if not written:
        return f"{rule}.py: error: it left no log; see the messages above"
    lines = written[0].read_text("utf-8", "replace").splitlines() or [""]
    if lines[-1].endswith(f"{ENDED}INT"):
        return ""
    # The first one: of several processes, the one that fails ends the others.
    told = [line for line in lines if line.startswith(f"{rule}.py: error: ")]
    silent = lines[-1] if ENDED in lines[-1] else "it was killed, perhaps for lack of memory"
    if read_took(written[0]):
        silent = "it ended well, but what it wrote was not accepted; see the messages above"
    return f"{told[0] if told else f'{rule}.py: error: {silent}'}; log: {written[0]}"


def check_slurm(settings: Any) -> None:
    """Refuse a study that would wait for ever, as its cluster keeps no account of jobs.

    The plugin asks `sacct` or `squeue` for the states of all jobs, and waits for ever for those
    that the cluster keeps no account of.

    Args:
        settings: of the plugin.

    Raises:
        UserError: the message says what to set.
    """
    if settings.status_command not in ("sacct", "squeue") or keeps_account():
        return
    trap = "this cluster keeps no account of jobs (sacct: Slurm accounting storage is disabled)"
    if settings.status_command == "sacct":
        raise UserError(
            f"{trap}, so the study would wait for ever; set slurm-status-command: squeue in the "
            "profile, or give --slurm-status-command squeue"
        )
    from snakemake_executor_plugin_slurm import get_min_job_age

    age, seconds = get_min_job_age(), settings.init_seconds_before_status_checks
    if age is not None and age < 3 * seconds:  # where the plugin asks sacct after all
        raise UserError(
            f"{trap} and forgets them {age} seconds after their end (MinJobAge), so the study "
            f"would wait for ever; set slurm-init-seconds-before-status-checks, {seconds} now, to "
            "at most a third of that in the profile, or have the cluster's MinJobAge raised"
        )


def keeps_account() -> bool:
    """Whether sacct tells of jobs, or may do so later."""
    with suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["sacct", "--noheader"], capture_output=True, text=True, timeout=PATIENCE
        )
        return NO_ACCOUNT not in done.stderr
    return True


def keep_asking() -> None:
    """Have the plugin ask again for states that were not answered, instead of forgetting jobs."""
    import snakemake_executor_plugin_slurm as plugin

    ask = plugin.query_job_status

    async def answered(command: str, logger: Any) -> tuple[dict[str, str], float]:
        states, seconds = await ask(command, logger)
        return states or {}, seconds or 0.0

    plugin.query_job_status = answered
