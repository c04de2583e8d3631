"""What a change of code runs again, module by module."""

import re
import shutil

import pytest
from conftest import ROOT
from workspace import Workspace

from lib.study import code

MODULES = sorted(
    ".".join(path.relative_to(ROOT / "scripts" / "lib").with_suffix("").parts)
    for path in (ROOT / "scripts" / "lib").rglob("*.py")
    if path.name != "__init__.py"
)
RULES = re.findall(
    r"^rule (\w+):",
    "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk")),
    re.MULTILINE,
)
RUNS_READ = ("collect", "measure", "compare", "findings", "published", "errors", "lengths")
OF_TABLES = {"tune", "data_curve"}
ON_PAGES = {"draw", "summary", "latex"}
WITH_NAMES = {*RUNS_READ, *OF_TABLES, "overviews", "baseline", "tsne", "attention", *ON_PAGES}
WITH_TABLES = WITH_NAMES - {"baseline"} | {"costs", "summary_html", "tables_html"}
WITH_STATISTICS = {"measure", "compare", "findings", "lengths", "summary", "data_curve"}
WITH_VERDICTS = {"measure", "findings", "data_curve"}
WITH_RESULTS = WITH_NAMES - {"baseline"}
WITH_TUNING = {*WITH_VERDICTS, "collect", "tune"}
WITH_REPRESENTATIVES = {
    *("measure", "findings", "overviews", "errors", "lengths", "tsne", "attention", "summary"),
    "data_curve",
}
WITH_MODEL = {"train", "evaluate", "estimate", "tsne", "attention"}
WITH_PREDICTIONS = {*WITH_MODEL, "baseline", "compare", *WITH_VERDICTS}
WITH_PREDICTIONS |= {"errors", "lengths"}

# module -> the rules whose results it decides; those that follow from them run again as well
DECIDES = {
    "study.catalog": {"summary"},
    "command.cli": set(),
    "study.config": set(),
    "study.configfiles": set(),
    "command.console": set(),
    "study.failures": set(),
    "files.whole": set(),
    "files.manifests": set(),
    "study.flags": set(),
    "command.formats": {
        *WITH_VERDICTS,
        *("overviews", "estimate", *ON_PAGES, "summary_html", "tables_html"),
    },
    "forks.client": set(),
    "training.gpus": set(),
    "command.markup": {"evaluate", "summary", "latex"},
    "training.metrics": {"train", "evaluate", "estimate", "baseline"},
    "study.planning": set(),
    "files.predictions": WITH_PREDICTIONS,
    "study.schema": set(),
    "study.slurm": set(),
    "study.code": set(),
    "forks.server": set(),
    "study.runs": WITH_NAMES | {"costs", "evaluate", "estimate"},
    "files.tables": WITH_TABLES,
    "command.timing": set(),
    "study.version": set(),
    "data.delimited": {"download"},
    "data.digests": set(),
    "data.download": {"download"},
    "data.encoder_sources": {"encoder"},
    "data.encoder_files": {"encoder", "pretokenize", "baseline", *WITH_MODEL},
    "data.encoders": {"pretokenize", "baseline", *WITH_MODEL},
    "data.encoding": {"pretokenize", "baseline", "tsne", "attention"},
    "data.folding": {"download", "split", "encoder", "baseline", "attention", "summary", "latex"},
    "data.hub": set(),
    "data.hub_datasets": {"download"},
    "data.json_lines": {"download"},
    "data.near_duplicates": {"download"},
    "data.new_encoders": {"encoder"},
    "data.packages": set(),
    "data.preview": set(),
    "data.readers": {"download"},
    "data.reviews": {"download", "split", "encoder"},
    "data.sampling": {"download", "split", "train", "estimate", "baseline"},
    "data.sources": {"download"},
    "data.splitting": {"split"},
    "data.streaming": {"download", "split", "encoder", "pretokenize"},
    "data.tokenization": {"pretokenize"},
    "data.tokenizer_training": {"encoder"},
    "data.words": {"download", "baseline", "attention"},
    "data.tokens": {"pretokenize", "lengths", *WITH_MODEL},
    "training.backends": WITH_MODEL,
    "training.batches": WITH_MODEL,
    "training.card": {"evaluate"},
    "training.device": WITH_MODEL,
    "training.estimate": {"estimate"},
    "training.evaluation": {"evaluate"},
    "training.flops": {"train", "estimate"},
    "training.inference": {"tsne", "attention"},
    "training.job": {"train", "estimate"},
    "training.launch": set(),
    "training.loop": {"train", "estimate"},
    "training.model": WITH_MODEL,
    "training.prediction": WITH_MODEL,
    "training.probe": set(),
    "training.progress": {"train", "estimate"},
    "training.reporting": set(),
    "training.saving": set(),
    "training.speed": {"estimate"},
    "training.tracking": set(),
    "analysis.attention": {"attention"},
    "analysis.baseline": {"baseline"},
    "analysis.collection": {"collect"},
    "analysis.comparisons": {"compare", "findings"},
    "analysis.contrasts": WITH_TUNING,
    "analysis.costs": {"costs"},
    "analysis.crossed": WITH_VERDICTS,
    "analysis.data_curve": {"data_curve"},
    "analysis.errors": {"errors"},
    "analysis.findings": {"findings"},
    "analysis.lengths": {"lengths"},
    "analysis.maps": {"tsne"},
    "analysis.measures": {"measure", "data_curve"},
    "analysis.overviews": {"overviews"},
    "analysis.published": {"published"},
    "analysis.representatives": WITH_REPRESENTATIVES,
    "analysis.results": WITH_RESULTS,
    "analysis.statistics": WITH_STATISTICS,
    "analysis.tuning": WITH_TUNING,
    "analysis.verdicts": WITH_VERDICTS,
    "analysis.wording": {*WITH_VERDICTS, *ON_PAGES},
    "page.drawing": {"draw"},
    "page.figures": {"draw"},
    "page.html": {"summary_html", "tables_html"},
    "page.latex": {"latex"},
    "page.markdown": {"summary", "latex"},
    "page.sections": {"summary"},
    "page.summary": {"summary"},
    "page.tables": {"summary", "latex"},
    "page.vega": {"vega"},
}


def test_the_table_names_every_module():
    assert sorted(DECIDES) == sorted(MODULES)
    assert set(MODULES) >= code.DECIDE_NOTHING


@pytest.mark.parametrize("module", MODULES)
def test_a_module_is_in_the_digest_where_it_decides_results(module):
    assert {rule for rule in RULES if module in code.modules_of(rule)} == DECIDES[module]


def test_a_digest_follows_the_content_of_the_code_that_decides(monkeypatch, tmp_path):
    def digests() -> dict[str, str]:
        code.source.cache_clear()
        return {rule: code.digest(rule) for rule in RULES}

    shutil.copytree(code.SCRIPTS, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(code, "SCRIPTS", tmp_path)
    before = digests()
    for module in ("files.tables", "training.loop", "data.hub"):
        path = code.path_of(module)
        source = path.read_text()
        path.write_text(source + "# changed\n")
        after = digests()
        assert {rule for rule in RULES if after[rule] != before[rule]} == DECIDES[module]
        path.write_text(source)
    assert digests() == before
    code.source.cache_clear()


def test_every_rule_names_its_command_and_its_code():
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for block in path.read_text().split("\nrule ")[1:]:
            rule = block.partition(":")[0]
            _, _, parameters = block.partition("    params:")
            assert f'command=command("{rule}")' in parameters
            assert f'code=code("{rule}")' in parameters
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts - {"predict"} == set(RULES)


@pytest.fixture(scope="module")
def complete(python, tmp_path_factory) -> Workspace:
    """The smallest study, complete, with all that a report shows."""
    workspace = Workspace(tmp_path_factory.mktemp("complete"))
    workspace.write_config("study.yaml")
    done = workspace.snakemake(python, "--cores", "2", *EVERYTHING)
    assert done.returncode == 0, done.stderr
    return workspace


EVERYTHING = ("--configfile=study.yaml", "all", "report_files")
CHAIN = ("download", "split", "encoder", "pretokenize", "train", "evaluate")


@pytest.mark.slow
def test_a_comment_in_a_module_plans_what_the_table_says(complete, python, capsys):
    plans = {}
    for module in MODULES:
        path = complete.folder / code.path_of(module).relative_to(ROOT)
        source = path.read_text()
        path.write_text(source + "# changed\n")
        plans[module] = complete.jobs(python, "-n", *EVERYTHING)
        path.write_text(source)
    with capsys.disabled():
        for module, jobs in plans.items():
            plan = ", ".join(f"{rule} {count}" for rule, count in jobs.items())
            print(f"\n{module:28} {plan or 'nothing'}", end="")
    for module, jobs in plans.items():
        # Some are left out by the smallest study, one by all studies.
        decided = DECIDES[module] - {"published", "tune", "data_curve", "estimate"}
        first = min(map(CHAIN.index, decided & set(CHAIN)), default=len(CHAIN))
        assert decided <= set(jobs) and bool(decided) == bool(jobs), module
        assert set(CHAIN[:first]).isdisjoint(jobs), module
