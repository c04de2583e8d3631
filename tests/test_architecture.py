"""The rooms of the code, and that a thing that was added is added everywhere."""

import re
from graphlib import TopologicalSorter

import pytest
from conftest import ROOT
from test_reruns import MODULES

from lib.page import figures, sections
from lib.study import catalog, code
from lib.study.schema import options_of

ROOMS = ("forks", "command", "files", "study", "data", "training", "analysis", "page")
SHARED = set(ROOMS[:4])  # of which each may import those before it
# what stages may import of those before them, besides the shared rooms
MAY_IMPORT = {
    "data": set(),
    "training": {
        *("data.tokens", "data.encoding", "data.cutting", "data.encoders", "data.encoder_files"),
        *("data.sampling", "data.readers", "data.streaming"),
    },
    "analysis": {
        *("data.tokens", "data.encoding", "data.cutting", "data.sampling", "data.words"),
        *("data.encoder_files", "training.device", "training.inference", "training.insight"),
        *("training.exported", "training.metrics", "training.processes"),
    },
    "page": {
        "data.folding",
        *("analysis.contrasts", "analysis.metrics", "analysis.representatives", "analysis.results"),
        *("analysis.statistics", "analysis.wording"),
    },
}


def room(module: str) -> str:
    return module.partition(".")[0]


def test_every_module_is_in_a_room():
    assert {room(module) for module in MODULES} == set(ROOMS)


@pytest.mark.parametrize("module", MODULES)
def test_dependencies_point_one_way(module):
    own = room(module)
    others = {name for name in code.imported_by(module) if room(name) != own}
    assert all(ROOMS.index(room(name)) < ROOMS.index(own) for name in others)
    assert {name for name in others if room(name) not in SHARED} <= MAY_IMPORT.get(own, set())


def test_no_modules_import_one_another_in_a_circle():
    graph = {module: code.imported_by(module) for module in MODULES}
    assert set(TopologicalSorter(graph).static_order()) >= set(MODULES)  # else a CycleError


def test_commands_are_flags_and_one_call():
    for path in (ROOT / "scripts").glob("*.py"):
        functions = [getattr(node, "name", "") for node in code.parse(path).body]
        assert [name for name in functions if name] == ["arguments", "main"], path.name
        assert len(path.read_text().splitlines()) < 70, path.name


def test_the_architecture_names_every_module_once():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(r"^\| `([\w/]+)\.py` \|", text, re.MULTILINE)
    assert sorted(named) == sorted(module.replace(".", "/") for module in MODULES)


def test_the_documents_list_the_tables_of_the_catalog(tmp_path):
    path = ROOT / "docs" / "results.md"
    (tmp_path / "results.md").write_text(path.read_text())
    catalog.document(str(tmp_path / "results.md"))
    assert (tmp_path / "results.md").read_text() == path.read_text()  # else: make docs


def test_every_table_has_its_command_and_is_shown():
    shown = code.path_of("page.sections").read_text()
    drawn = {name for figure in catalog.FIGURES for name in figure.tables}
    for table in catalog.TABLES:
        modules = [name for name in code.modules_of(table.command) if room(name) == "analysis"]
        assert any(f'"{table.name}"' in code.path_of(name).read_text() for name in modules)
        assert f'"{table.name}"' in shown, f"no section shows the table {table.name}"
        assert not table.drawn or table.name in drawn


def test_every_figure_is_drawn_and_shown():
    text = code.path_of("page.sections").read_text()
    tables = {table.name for table in catalog.TABLES}
    for figure in catalog.FIGURES:
        assert tables.issuperset(figure.tables)
        assert callable(getattr(figures, figure.name, None)), figure.name
        assert re.search(rf'page\.figure\(\s*"{figure.name}"', text), figure.name
        assert figure.caption.endswith(".") and figure.alternative and figure.title and figure.theme


def test_every_section_needs_tables_that_there_are():
    tables = {table.name for table in catalog.TABLES}
    assert {name for needed, _ in sections.SECTIONS.values() for name in needed} <= tables


@pytest.mark.parametrize("key", options_of("training"))
def test_every_training_setting_is_used(key):
    texts = [code.path_of(module).read_text() for module in MODULES]
    assert any(f'settings["{key}"]' in text for text in texts)
