"""Two runs of the quick study: their accuracy, their statistics by hand, and the report."""

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import yaml
from browser import needs_chromium, opened
from scipy.stats import binomtest
from workspace import RUN, USUAL_PARTS, Workspace

from lib.study.catalog import FIGURES, figures_in, tables_to_read

RUNS = [RUN.format(model, "masked-mean", 64, "base", 1) for model in ("bert", "modernbert")]
REPORT = "results/report.html"
SHOWN = figures_in(USUAL_PARTS)
THEMES = Counter(each.told("accuracy", "reviews").theme for each in FIGURES if each.name in SHOWN)
READ = list(filter(tables_to_read, USUAL_PARTS))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(python, tmp_path_factory) -> Workspace:
    """The quick study with masked-mean at batch 64 alone, and its report."""
    workspace = Workspace(tmp_path_factory.mktemp("quick"))
    config = yaml.safe_load(workspace.read("config/config.yaml"))
    config["grid"] = [config["grid"][0] | {"batch": [64], "seed": [1]}]
    (workspace.folder / "study.yaml").write_text(yaml.safe_dump(config))
    for arguments in (["--cores", "2"], ["--report", REPORT]):
        done = workspace.snakemake(python, *arguments, "--configfile=study.yaml")
        assert done.returncode == 0, done.stderr
    return workspace


def test_masked_mean_at_batch_64_learns(study):
    for folder in RUNS:
        assert json.loads(study.read(f"{folder}/test.json"))["accuracy"] >= 0.72


def test_statistics_by_hand_agree(study):
    a, b = (pd.read_parquet(study.folder / run / "predictions.parquet") for run in RUNS)
    right = pd.DataFrame({"a": a.label == a.prediction, "b": b.label == b.prediction})
    only_a, only_b = (right.a & ~right.b).sum(), (right.b & ~right.a).sum()
    p = binomtest(only_a, only_a + only_b).pvalue
    interval = binomtest(right.a.sum(), len(right)).proportion_ci(method="wilson")

    tables = study.folder / "results/tables"
    (row,) = pd.read_csv(tables / "comparisons.csv").query("factor == 'model'").to_dict("records")
    assert row["p"] == pytest.approx(p)
    found = pd.read_csv(tables / "findings.csv").iloc[0]
    assert (found["verdict"], found["p"]) == ("on these runs alone", pytest.approx(p))
    assert row["difference"] == pytest.approx(right.b.mean() - right.a.mean())
    assert row["low"] < row["difference"] < row["high"]
    measures = pd.read_csv(tables / "measures.csv").iloc[0]
    assert (measures["low"], measures["high"]) == pytest.approx(tuple(interval))
    assert measures["brier"] == pytest.approx(((a.confidence - right.a) ** 2).mean(), abs=1e-6)


def test_no_page_is_too_large_for_a_frame_of_the_report(study):
    pages = [
        *study.folder.glob("results/pages/*.html"),
        *study.folder.glob("results/figures/*.html"),
    ]
    assert {page.stem for page in pages} >= {"summary", *SHOWN, *READ}
    assert max(page.stat().st_size for page in pages) < 1.5e6  # 2 MB in base64


@needs_chromium
@pytest.mark.parametrize(
    ("way", "results"),
    [
        (["1 Summary"], 1),
        *((["2 Figures", theme], count) for theme, count in THEMES.items()),
        (["3 Tables"], len(READ)),
    ],
)
def test_the_report_opens_and_shows_everything(study, way, results):
    with opened(study.folder / REPORT, width=1400) as page:
        for name in way:
            page.get_by_text(name, exact=True).first.click()
        eyes = page.locator("a[iconname=eye]")
        assert eyes.count() == results
        for number in range(results):
            eyes.nth(number).click()
            look_at(page, "svg.marks" if way[0] == "2 Figures" else "h1, table.dataTable")


@needs_chromium
def test_the_first_page_of_the_report_shows_the_findings_and_the_answer(study):
    _, answer, *_ = study.read("results/summary.md").split("\n\n")
    with opened(study.folder / REPORT, width=1280) as page:
        page.wait_for_function("[...document.images].some(each => each.naturalWidth > 300)")
        assert answer in page.locator("body").inner_text()
        ends = page.locator("#rulegraph svg, #rulegraph canvas").first.bounding_box()
        assert ends["x"] + ends["width"] <= 1280


@needs_chromium
def test_links_of_the_summary_lead_to_files_where_there_are_any(study):
    with opened(study.folder / "results/pages/summary.html") as page:
        links = page.eval_on_selector_all("a", "all => all.map(each => each.href)")
    assert links and all(Path(link.removeprefix("file://")).is_file() for link in links)


def look_at(page, mark) -> None:
    """What the report shows is there, with all its pictures and no link to a file."""
    frame = page.frame_locator("iframe")
    frame.locator(mark).first.wait_for()
    assert frame.locator("a[href$='.csv']").count() == 0
    broken = "[...document.images].filter(each => !each.naturalWidth).length"
    assert page.frames[-1].evaluate(broken) == 0
