"""The rooms of the code, and that a thing that was added is added everywhere."""

import re

import pytest
from conftest import ROOT
from test_reruns import MODULES, RULES

from lib.page import figures, sections
from lib.study import catalog, code
from lib.study.schema import options_of

LIB = ROOT / "scripts" / "lib"
STAGES = ("data", "training", "analysis", "page")
# stage -> what it may import besides itself and the modules that all share
MAY_IMPORT = {
    "shared": set(),
    "data": set(),
    "training": {
        *("data.tokens", "data.encoding", "data.encoders", "data.encoder_files"),
        "data.sampling",
    },
    "analysis": {
        *("data.tokens", "data.encoding", "data.sampling", "data.words"),
        *("training.inference", "training.metrics"),
    },
    "page": {
        "data.folding",
        *("analysis.representatives", "analysis.results"),
        *("analysis.statistics", "analysis.wording"),
    },
}


def stage(module: str) -> str:
    first = module.partition(".")[0]
    return first if first in STAGES else "shared"


@pytest.mark.parametrize("module", MODULES)
def test_dependencies_point_one_way(module):
    own = stage(module)
    imported = code.imported_by(module)
    others = {name for name in imported if stage(name) not in ("shared", own)}
    assert others <= MAY_IMPORT[own]


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
    shown = (LIB / "page" / "sections.py").read_text()
    drawn = {figure.table for figure in catalog.FIGURES}
    for table in catalog.TABLES:
        assert table.command in RULES
        assert f'"{table.name}"' in shown, f"no section shows the table {table.name}"
        assert not table.drawn or table.name in drawn
        written = (code.path_of(name) for name in MODULES if name.startswith("analysis."))
        call = f'write_table(out, "{table.name}"'
        generic = "write_table(out, name,"  # in a loop over names
        texts = [path.read_text() for path in written]
        assert any(call in text for text in texts) or any(
            generic in text and f'"{table.name}"' in text for text in texts
        ), f"nothing writes the table {table.name}"


def test_every_figure_is_drawn_and_shown():
    text = (LIB / "page" / "sections.py").read_text()
    tables = {table.name for table in catalog.TABLES}
    for figure in catalog.FIGURES:
        assert figure.table in tables
        assert callable(getattr(figures, figure.name, None)), figure.name
        assert f'page.figure("{figure.name}")' in text, f"no section shows {figure.name}"
        assert figure.caption.endswith(".") and figure.alternative and figure.title and figure.theme


def test_every_section_needs_tables_that_there_are():
    tables = {table.name for table in catalog.TABLES}
    assert {name for needed, _ in sections.SECTIONS.values() for name in needed} <= tables


@pytest.mark.parametrize("key", options_of("training"))
def test_every_training_setting_is_used(key):
    texts = [code.path_of(module).read_text() for module in MODULES]
    assert any(f'settings["{key}"]' in text for text in texts)
