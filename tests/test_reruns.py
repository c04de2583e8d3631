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
    r"^ *(?:rule|checkpoint) (\w+):",
    "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk")),
    re.MULTILINE,
)
# rules -> the modules that decide their results; what follows from them runs again as well
OF_RULES = {
    "": "command.cli command.console command.timing data.digests data.hub data.packages "
    "data.preview files.manifests files.whole forks.client forks.server study.code study.config "
    "study.configfiles study.engine study.flags study.planning study.schema study.version "
    "training.export training.gpus training.graph training.labelling training.launch "
    "training.parts training.probe training.reporting training.saving training.tracking",
    "download": "data.delimited data.download data.hub_datasets data.json_lines "
    "data.near_duplicates data.readers data.sources",
    "download encoder": "data.licences",
    "download split encoder": "data.division data.reviews",
    "download split encoder pretokenize": "data.streaming",
    "download split train estimate baseline latency": "data.sampling",
    "download split encoder baseline analyse explain latency summary": "data.folding",
    "download baseline analyse explain latency": "data.words",
    "split": "data.groups data.splitting",
    "encoder": "data.encoder_sources data.new_encoders data.tokenizer_training",
    "encoder pretokenize vectors train evaluate estimate baseline explain latency": "data."
    "encoder_files",
    "pretokenize": "data.tokenization",
    "pretokenize baseline explain latency": "data.encoding",
    "pretokenize vectors train evaluate estimate baseline explain latency": "data.encoders",
    "pretokenize vectors train evaluate estimate analyse explain latency": "data.tokens",
    "pretokenize vectors train evaluate estimate baseline analyse explain latency": "data.cutting",
    "train estimate": "training.compilation training.flops training.job training.loop "
    "training.progress training.sizing training.unpadding",
    "train evaluate estimate baseline latency": "training.metrics",
    "vectors train evaluate estimate": "training.vectors",
    "vectors train evaluate estimate explain latency": "training.backends training.batches "
    "training.checkpoints training.device training.freezing training.model training.modules "
    "training.own_head training.poolings training.prediction training.unpadded",
    "train evaluate estimate baseline analyse explain latency": "files.predictions",
    "evaluate": "training.card training.evaluation",
    "evaluate summary": "command.markup",
    "evaluate estimate baseline choose collect analyse explain latency draw summary": "study.runs",
    "estimate": "training.estimate",
    "estimate latency": "training.processes",
    "estimate analyse draw summary": "command.formats",
    "baseline latency": "analysis.baseline",
    "latency": "analysis.latency analysis.predictors analysis.turns training.exported "
    "training.inference",
    "collect": "analysis.collection analysis.costs",
    "choose collect analyse": "analysis.tuning",
    "choose collect analyse summary": "analysis.contrasts",
    "choose collect analyse explain latency draw summary": "analysis.results files.tables",
    "analyse": "analysis.analyse analysis.comparisons analysis.crossed analysis.cuts "
    "analysis.data_curve analysis.errors analysis.findings analysis.lengths analysis.measures "
    "analysis.published analysis.study analysis.verdicts",
    "analyse summary": "analysis.groups analysis.metrics analysis.statistics",
    "analyse draw summary": "analysis.wording study.metrics",
    "analyse explain latency summary": "analysis.representatives",
    "explain": "analysis.attention analysis.explain analysis.maps training.insight",
    "draw": "page.drawing page.figures",
    "draw summary": "study.catalog",
    "summary": "page.answer page.html page.latex page.markdown page.sections page.summary "
    "page.tables",
}
DECIDES = {
    module: set(rules.split()) for rules, modules in OF_RULES.items() for module in modules.split()
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
        for block in re.split(r"\n *(?:rule|checkpoint) ", path.read_text())[1:]:
            rule = block.partition(":")[0]
            _, _, parameters = block.partition("    params:")
            assert f'command=command("{rule}")' in parameters
            assert f'code=code("{rule}")' in parameters
    scripts = {path.stem for path in (ROOT / "scripts").glob("*.py")}
    assert scripts - {"export", "predict"} == set(RULES)


@pytest.fixture(scope="module")
def complete(python, tmp_path_factory) -> Workspace:
    """The smallest study, complete, with all that a report shows."""
    workspace = Workspace(tmp_path_factory.mktemp("complete"))
    workspace.write_config("study.yaml")
    done = workspace.snakemake(python, "--cores", "2", *EVERYTHING)
    assert done.returncode == 0, done.stderr
    return workspace


EVERYTHING = ("--configfile=study.yaml",)
CHAIN = ("download", "split", "encoder", "pretokenize", "train", "evaluate")


@pytest.mark.slow
def test_a_comment_in_a_module_plans_what_the_table_says(complete, python, capsys):
    plans = {}
    for module in (modules.split()[-1] for modules in OF_RULES.values()):
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
        # These are left out: by all studies, by those that are not tuned, by those that train all.
        decided = DECIDES[module] - {"estimate", "choose", "vectors"}
        first = min(map(CHAIN.index, decided & set(CHAIN)), default=len(CHAIN))
        assert decided <= set(jobs) and bool(decided) == bool(jobs), module
        assert set(CHAIN[:first]).isdisjoint(jobs), module
