"""The Hugging Face hub: files of one revision, each checked, and errors that say what to do.

HF_ENDPOINT, HF_TOKEN and HF_HOME are read by huggingface_hub itself. A transfer that breaks off
goes on where it stopped; a download that failed or was killed goes on with the next file.
"""

import logging
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import httpx2
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import disable_progress_bars, filter_repo_objects

from lib.command.console import UserError, log, one_line, without_password
from lib.data import licences
from lib.files.manifests import sha256


def _redact(record: logging.LogRecord) -> bool:
    record.msg, record.args = without_password(record.getMessage()), ()
    if record.exc_info:
        record.exc_text = without_password(logging.Formatter().formatException(record.exc_info))
    return True


logger = logging.getLogger("huggingface_hub")
logger.propagate = False  # it has a handler of its own
for handler in logger.handlers:
    handler.addFilter(_redact)

# What huggingface_hub raises where a download fails; ValueError is that of a bad HF_ENDPOINT.
HubError = (OSError, ValueError, RuntimeError, httpx2.HTTPError)


def snapshot(
    kind: str,
    repository: str,
    revision: str,
    patterns: Sequence[str],
    without: Sequence[str] = (),
) -> tuple[Path, dict[str, str]]:
    """Download files of a repository and check them against the digests that the hub lists.

    Args:
        kind: `model` or `dataset`.
        repository: as in `google-bert/bert-base-uncased`.
        revision: a commit, or a tag or branch.
        patterns: of the files that are wanted, as in `fnmatch`.
        without: patterns of those among them that are not.

    Returns:
        The folder in the hub's cache that holds the files, and perhaps others; and the SHA-256 of
        each file that is wanted.

    Raises:
        UserError: repository, revision or network is not there, or a file is damaged.
    """
    if not sys.stderr.isatty():
        disable_progress_bars()
    log.info("hub: %s %s at %s", kind, repository, revision)
    chosen = {"allow_patterns": list(patterns), "ignore_patterns": list(without)}
    try:
        folder = Path(snapshot_download(repository, repo_type=kind, revision=revision, **chosen))
    except HubError as error:
        raise UserError(f"{kind} '{repository}': {explain(error, revision)}") from error
    files = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    wanted = filter_repo_objects(files, **chosen)
    return folder, {file: _digest(f"{kind} '{repository}'", folder, file) for file in wanted}


def licence(kind: str, repository: str, revision: str) -> dict[str, str]:
    """The `license` that a repository tells; nothing where its README.md can't be had.

    It is fetched by itself, so that a cache without it serves as well. Arguments as of `snapshot`.
    """
    try:
        folder, _ = snapshot(kind, repository, revision, [licences.CARD])
    except UserError as error:
        log.warning("no licence is read: %s", error)
        return {}
    return licences.of_card(folder)


def explain(error: BaseException, revision: str) -> str:
    """What went wrong at the hub, and what to do, on one line."""
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    hub = without_password(constants.ENDPOINT)
    for cause in chain:
        match cause:
            case OfflineModeIsEnabled():
                return "HF_HUB_OFFLINE is set, and the hub's cache does not hold it; unset it"
            case GatedRepoError():
                return (
                    f"it is gated; ask for access on its page at {hub}, then set HF_TOKEN "
                    "or run `hf auth login`"
                )
            case RepositoryNotFoundError():
                return (
                    f"{hub} has no such repository, or it is private; check its id, "
                    "and set HF_TOKEN if it is private"
                )
            case RevisionNotFoundError():
                return f"it has no revision '{revision}'; take one from its list of commits"
            case HfHubHTTPError() if cause.response.status_code in (401, 403):
                return f"{hub} denies access; check HF_TOKEN"
            case HfHubHTTPError() if cause.response.status_code == 404:
                return f"{hub} has no such file; check the id, and HF_ENDPOINT"
            case HfHubHTTPError():
                return f"{hub} answers {cause.response.status_code}; try again later"
            case httpx2.UnsupportedProtocol():
                return f"HF_ENDPOINT is '{hub}'; allowed: an address that begins with https://"
            case httpx2.ConnectError() | httpx2.ConnectTimeout() | httpx2.ProxyError():
                return (
                    f"{hub} can't be reached; check network and proxy, "
                    "or name a mirror in HF_ENDPOINT"
                )
            case httpx2.TransportError():
                return "the transfer was cut off; run again, the files that are complete are kept"
    return without_password(one_line(chain[-1]))


def _digest(name: str, folder: Path, file: str) -> str:
    """The SHA-256 of a file of a snapshot, compared with that by which the hub's cache names it.

    It is a link to a blob, which has the SHA-256 of the hub's listing for a name where the file is
    large (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).
    """
    blob = (folder / file).resolve()
    digest = sha256(blob)
    if re.fullmatch("[0-9a-f]{64}", blob.name) and digest != blob.name:
        raise UserError(
            f"{name}: '{file}' does not have the SHA-256 that the hub lists, so it is damaged; "
            f"delete {blob} and run again"
        )
    return digest
