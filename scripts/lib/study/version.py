"""Which version of the workflow runs."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]


def workflow_version() -> str:
    """The version, and the commit where the workflow is a git checkout, marked if changed.

    As in `0.1.0, commit 1a2b3c4d` or `0.1.0, commit 1a2b3c4d with changes`.
    """
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    found = re.search(r"^version: (.+)$", citation, re.MULTILINE)
    version = found[1] if found else "unknown"
    if not (ROOT / ".git").exists():
        return version
    command = ["git", "-C", str(ROOT), "describe", "--always", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            [*command, "--dirty= with changes"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):  # no git, or a checkout of another user
        return version
    return f"{version}, commit {done.stdout.strip()}"
