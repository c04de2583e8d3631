"""How Snakemake learns on a cluster with Slurm that a job has ended.

Its plugin asks `sacct` or `squeue` for the states of all jobs. It waits for ever for those that the
cluster keeps no account of, and for all jobs once it has asked in vain.
"""

import subprocess
from contextlib import suppress
from typing import Any

from lib.command.console import UserError

NO_ACCOUNT = "accounting storage is disabled"  # as sacct says it
PATIENCE = 60  # seconds, as the plugin has


def check(settings: Any) -> None:
    """Refuse a study that would wait for ever, as its cluster keeps no account of jobs.

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
