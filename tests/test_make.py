"""The commands of the Makefile, and the packages that it installs."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT
from workspace import Workspace

PACKAGES = packages_distributions()
ODD = 'it\'s a $HOME of "mine"'
MADE = ["dag.svg", "estimate.md", "report.html", "rulegraph.mmd", "rulegraph.svg", "summary.md"]


def named(file: str) -> set[str]:
    """The packages in a file of envs/, by their normal names."""
    lines = (ROOT / "envs" / file).read_text().splitlines()
    return {normal(re.split("[<>=]", line)[0]) for line in lines if not line.startswith("#")}


def normal(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def imported(*folders: str) -> set[str]:
    """The packages that modules import, wherever in them."""
    found: set[str] = set()
    for path in (path for folder in folders for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                found.add(node.module or "")
    return {normal(name) for module in found for name in PACKAGES.get(module.split(".")[0], ())}


def test_a_study_asks_for_what_it_imports_and_tests_for_what_they_add():
    study, export, tests = map(named, ("requirements.in", "export.in", "tests.in"))
    assert imported("scripts") <= study | export
    assert imported("benchmarks", "tests") <= study | export | tests
    assert not study & export and not tests & (study | export)
    for asked, lock in ((study, "requirements"), (export, "export"), (tests, "tests")):
        assert asked <= named(f"{lock}.txt")


def test_locks_pin_each_package_once_and_name_no_place():
    lines = [
        line
        for lock in ("requirements.txt", "export.txt", "tests.txt")
        for line in (ROOT / "envs" / lock).read_text().splitlines()
    ]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    names = [normal(line.partition("==")[0]) for line in lines]
    assert len(names) == len(set(names))


@pytest.fixture
def project(tmp_path) -> Workspace:
    """A copy of the project whose environment is that of the tests, and where dot draws nothing."""
    workspace = Workspace(tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, line in {
        "python": f'exec {sys.executable} "$@"',
        "snakemake": f'exec {sys.executable} -m snakemake "$@"',
        "dot": "cat",
        "tred": "cat",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    for stamp in (".ready", ".ready-tests"):
        (tmp_path / ".venv" / stamp).touch()
    return workspace


@pytest.fixture
def words(project) -> list[str]:
    """Words for make that name a study elsewhere, which has its reviews beside its results."""

    def change(config):
        config["dataset"] = {"name": "mine", "source": "files", "paths": ["data/reviews.csv"]}
        config["split"]["sizes"] = [300, 60, 60]
        config["grid"] = config["grid"][:1]
        config["analysis"] = dict.fromkeys(("baseline", "statistics", "tsne", "latency"), False)

    data = project.folder / "studies" / ODD / "data" / "reviews.csv"
    data.parent.mkdir(parents=True)
    texts = [f"a {word} film, {n}" for word in ("fine", "dull") for n in range(250)]
    pd.DataFrame({"text": texts, "label": [0] * 250 + [1] * 250}).to_csv(data, index=False)
    return [f"CONFIG={project.write_config(f'{ODD}.yaml', change)}", f"DIR=studies/{ODD}"]


def make(project: Workspace, *words: str) -> str:
    """What a command prints."""
    done = subprocess.run(
        ["make", *words],
        cwd=project.folder,
        env=project.variables() | {"WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def made(folder: Path) -> list[str]:
    """The files in results/ of a folder, but for folders and what has a dot before its name."""
    found: Iterable[Path] = (folder / "results").glob("[!.]*")
    return sorted(path.name for path in found if path.is_file())


def test_a_study_elsewhere_is_planned_and_drawn_in_its_folder(project, words):
    said = make(project, "estimate", "CORES=1 --dry-run", *words)
    assert re.search(r"^estimate +1$", said, re.MULTILINE)
    make(project, "dag", *words)
    folder = project.folder / "studies" / ODD
    assert made(folder) == ["dag.svg", "rulegraph.mmd", "rulegraph.svg"]
    assert "mine" in (folder / "results" / "dag.svg").read_text()
    assert not made(project.folder)


def test_a_study_in_this_folder_is_the_quick_one_or_that_of_a_config_file(project):
    quick = make(project, "summary", "CORES=1 --dry-run")
    assert "no such" not in quick and re.search(r"^train +2\d$", quick, re.MULTILINE)
    smallest = make(project, "summary", "CORES=1 --dry-run", "CONFIG=tests/config.yaml")
    assert re.search(r"^train +2$", smallest, re.MULTILINE)


@pytest.mark.slow
def test_a_study_elsewhere_is_estimated_and_reported_in_its_folder(project, words):
    for target in ("estimate", "report", "dag"):
        make(project, target, *words)
    assert made(project.folder / "studies" / ODD) == MADE
    assert not made(project.folder)


def closure(edges: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """What follows from what, over any number of steps."""
    while more := {(a, d) for a, b in edges for c, d in edges if b == c} - edges:
        edges = edges | more
    return edges


def test_the_picture_of_the_chain_is_that_of_the_quick_study(python):
    command = [python, "-m", "snakemake", "--quiet", "all", "--rulegraph", "dot", "all"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    names = dict(re.findall(r'(\d+)\[label = "(\w+)"', done.stdout))
    edges = {(names[a], names[b]) for a, b in re.findall(r"(\d+) -> (\d+)", done.stdout)}
    picture = (ROOT / "docs" / "figures" / "chain.svg").read_text()
    drawn = re.findall(r'class="node">\s*<title>(\d+)</title>.*?<text[^>]*>(\w+)<', picture, re.S)
    shown = dict(drawn)
    arrows = re.findall(r"<title>(\d+)&#45;&gt;(\d+)</title>", picture)
    assert set(shown.values()) == set(names.values()) and len(shown) == 14
    assert closure({(shown[a], shown[b]) for a, b in arrows}) == closure(edges)
