"""The summary of made-up studies, read as GitHub would read it."""

import re

import numpy as np
import pandas as pd
import pytest
from browser import needs_chromium, opened
from conftest import call
from made_up import MadeUp, right_or_wrong
from markdown_it import MarkdownIt

import summary_html
import tables_html
from lib.page.markdown import escape, excerpt, facts
from lib.tables import write_table

HOSTILE = [
    "a | b || c",
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "`code` ```fence``` **bold** _it_ ~~no~~ $x^2$ [link](http://evil.example) ![i](x)",
    "line one\nline two\r\n\n# heading\n- item\u2028next\x00\x1b[31m",
    "www.evil.example http://evil.example &amp; &lt;b&gt; \\| \\",
    "</td></tr></table>",
]


def parsed(text: str) -> list:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)


def tables(text: str) -> list[pd.DataFrame]:
    """The tables of a page, as a parser of GitHub's Markdown sees them."""
    found, rows = [], []
    for token in parsed(text):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and token.level >= 3:
            rows[-1].append(token)
        elif token.type == "table_close":
            names = [cell.content for cell in rows[0]]
            assert all(len(row) == len(names) for row in rows)
            found.append(
                pd.DataFrame([[shown(cell) for cell in row] for row in rows[1:]], columns=names)
            )
            rows = []
    return found


def shown(token) -> str:
    return "".join(child.content for child in token.children)


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> MadeUp:
    """Two models, two poolings, two batches and two seeds; a run is missing, and one failed."""
    study = MadeUp(tmp_path_factory.mktemp("usual"))
    seeds = iter(range(99))
    for model in ("a", "b"):
        for pooling in ("cls", "masked-mean"):
            for batch in (64, 256):
                for seed in (1, 2):
                    keys = (model, pooling, batch, "base", seed)
                    right = right_or_wrong(400, 0.8, next(seeds))
                    if keys == ("b", "cls", 256, "base", 2):
                        continue
                    failed = 0 if keys == ("a", "cls", 256, "base", 1) else None
                    study.add(right, *keys, answer=failed)
    study.add_baseline(right_or_wrong(400, 0.85, 100))
    study.add_baseline(right_or_wrong(400, 0.8, 101), "seen-by-a")
    study.add_baseline(right_or_wrong(400, 0.8, 102), "seen-by-b")
    study.analyse()
    study.text = study.page(["negative", "positive"], drawn=True)
    return study


def test_every_table_is_well_formed_and_has_its_baselines(usual):
    found = tables(usual.text)
    assert len(found) >= 14
    main = found[0]
    assert main["Model"].tolist()[-3:] == [
        "TF-IDF, full text",
        "TF-IDF, text of a",
        "TF-IDF, text of b",
    ]
    assert "a †" in main["Model"].tolist() and len(main) == 8 + 3
    row = main[(main["Model"] == "b") & (main["Pooling"] == "cls")].iloc[1]
    assert (row["Batch"], row["Seeds"]) == ("256", "1") and "±" not in row["Test accuracy"]
    forms = [table for table in found if "val_acc@epoch" in table or "Test Loss" in table]
    assert all(table.iloc[:, 0].str.startswith("TF-IDF").sum() == 3 for table in forms)


def test_the_page_has_its_parts_in_order(usual):
    headings = re.findall(r"^## (.*)", usual.text, re.MULTILINE)
    assert headings == [
        "Findings",
        "Results",
        "Accuracy and calibration",
        "Comparisons",
        "Reliability and confusion",
        "In the form of published tables",
        "Learning curves",
        "Errors on the test split",
        "What was run",
    ]
    images = re.findall(r"!\[[^]]+\]\(([^)]+)\)", usual.text)
    assert len(images) == len(set(images)) == 5
    assert all((usual.folder / image).read_text().startswith("<svg") for image in images)
    links = re.findall(r"[^!]\[[^]]+\]\(([^)]+)\)", usual.text)
    assert links and all((usual.folder / link).is_file() for link in links)


def test_the_page_holds_no_raw_html(usual):
    kinds = {token.type for token in parsed(usual.text)}
    kinds |= {child.type for token in parsed(usual.text) for child in token.children or []}
    assert not kinds & {"html_block", "html_inline", "fence", "code_block"}


def test_statistics_of_the_tables_agree_with_five_lines_of_pandas(usual):
    folder = usual.runs[0]
    table = pd.read_parquet(folder / "predictions.parquet", partitioning=None)
    measures = usual.read("measures")
    assert measures["accuracy"][0] == (table["label"] == table["prediction"]).mean()


def test_seeds_are_counted_in_the_conditions(usual):
    settings = usual.read("conditions")
    several = settings[settings["seeds"] > 1]
    assert set(several["interval"]) == {"t over seeds"} and several["deviation"].notna().all()
    single = settings[settings["seeds"] == 1]
    assert set(single["interval"]) == {"Wilson"} and single["deviation"].isna().all()
    over_seeds = usual.read("comparisons_over_seeds")
    assert set(over_seeds["seeds"]) == {2}
    models = over_seeds[over_seeds["factor"] == "model"]
    assert len(models) == 3  # of the fourth setting, one run is missing


def test_hostile_texts_stay_texts(tmp_path):
    study = MadeUp(tmp_path, 60, texts=HOSTILE)
    study.add(right_or_wrong(60, 0.6, 1), "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(60, 0.6, 2), "b", "cls", 64, "base", 42)
    study.analyse()
    page = study.page(["bad|<b>", "good`*"])
    tokens = parsed(page)
    kinds = {child.type for token in tokens for child in token.children or []}
    assert not kinds & {"html_inline", "code_inline", "s_open"}
    assert not {token.type for token in tokens} & {"html_block", "fence"}
    links = [
        child for token in tokens for child in token.children or [] if child.type == "link_open"
    ]
    assert not any("evil" in link.attrGet("href") for link in links)
    errors = [table for table in tables(page) if "Review" in table]
    assert {"bad|<b>", "good`*"} == {label for table in errors for label in table["Label"]}
    reviews = {text for table in errors for text in table["Review"]}
    assert "a | b || c" in reviews and "</td></tr></table>" in reviews
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in reviews


@needs_chromium
def test_hostile_texts_do_not_run_in_pages(tmp_path):
    study = MadeUp(tmp_path, 60, texts=HOSTILE)
    study.add(right_or_wrong(60, 0.6, 1), "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(60, 0.6, 2), "b", "cls", 64, "base", 42)
    study.analyse()
    study.page(["</script><script>alert(3)</script>", "good"], drawn=True)
    call(summary_html, f"--page {tmp_path}/summary.md --out {tmp_path}/pages/summary.html")
    errors = " ".join(f"{study.tables}/{name}_errors.parquet" for name in ("confident", "shared"))
    call(tables_html, f"--tables {errors} --out {tmp_path}/pages/errors.html")
    for name in ("summary", "errors"):
        with opened(tmp_path / f"pages/{name}.html") as shown:
            shown.get_by_text("<script>alert(1)</script>").first.wait_for()
            shown.get_by_text("</td></tr></table>").first.wait_for()


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_shown_as_it_is(text):
    cell = f"| a | b |\n| --- | --- |\n| {escape(text)} | x |"
    (table,) = tables(cell)
    assert table["a"][0] == " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert "html" not in str({token.type for token in parsed(cell)})


def test_excerpts_are_cut_and_facts_are_lists():
    assert excerpt("word<br />" * 100).endswith(" …")
    assert "br" not in excerpt("word<br />" * 100)
    assert facts({"Data": "a\nb", "Empty": ""}) == "- **Data:** a b"


@pytest.mark.parametrize("classes", [2, 3])
def test_one_run_alone_makes_a_page(tmp_path, classes):
    study = MadeUp(tmp_path, 90, classes)
    study.add(right_or_wrong(90, 0.7, 1), "only", "cls", 64, "base", 42)
    study.analyse()
    page = study.page()
    found = tables(page)
    assert found[0]["Model"].tolist() == ["only"]
    confusion = next(table for table in found if "Recall" in table)
    assert len(confusion) == classes and f"As {classes - 1}" in confusion
    assert "## Comparisons" in page and "TF-IDF is a logistic" not in page


def test_three_classes_and_a_run_at_the_majority(tmp_path):
    study = MadeUp(tmp_path, 90, 3)
    right = right_or_wrong(90, 0.7, 1)
    study.add(right, "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(90, 0.7, 2), "b", "cls", 64, "base", 42, answer=2)
    study.add_baseline(right_or_wrong(90, 0.8, 3))
    study.analyse()
    page = study.page(["low", "middle", "high"])
    assert "b †" in tables(page)[0]["Model"].tolist()
    assert "b right, a wrong" not in page
    assert f"Wrong by every model** ({(~right).sum()} reviews)" in page


def test_all_errors_or_none(tmp_path):
    for name, right in (("all", np.zeros(50, bool)), ("none", np.ones(50, bool))):
        study = MadeUp(tmp_path / name, 50)
        study.add(right, "a", "cls", 64, "base", 42, valid=0.9)
        study.add(right, "b", "cls", 64, "base", 42, valid=0.9)
        study.analyse()
        page = study.page()
        shared = f"**Wrong by every model** ({50 if name == 'all' else 0} reviews)"
        assert "## Errors on the test split" in page and shared in page


def test_a_run_that_diverged_is_on_the_page_without_numbers(tmp_path):
    study = MadeUp(tmp_path, 60)
    study.add(right_or_wrong(60, 0.7, 1), "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(60, 0.7, 2), "b", "cls", 64, "base", 42, diverged=True)
    study.analyse()
    main = tables(study.page())[0].set_index("Model")
    assert main.loc["b †", "Test loss"] == "n/a"
    measures = study.read("measures").set_index("model")
    assert measures.loc["b", ["brier", "calibration_error"]].isna().all()


def test_a_study_of_which_all_diverged_has_a_page(tmp_path):
    study = MadeUp(tmp_path, 40)
    study.add(np.ones(40, bool), "Label", "cls", 64, "base", 1, diverged=True)
    study.add(np.ones(40, bool), "Id", "cls", 64, "base", 1, diverged=True)
    (found,) = study.analyse().query("question.str.startswith('Did any')")["answer"]
    assert "diverged" in found
    write_table(study.tables, "attention", pd.DataFrame(columns=["model"]))
    page = study.page()
    assert "Label †" in tables(page)[0]["Model"].tolist()
    assert "No run learned, so that there is no attention to show." in page


def test_models_named_as_headings_keep_their_columns(tmp_path):
    study = MadeUp(tmp_path, 60)
    study.add(right_or_wrong(60, 0.7, 1), "Label", "cls", 64, "base", 1)
    study.add(right_or_wrong(60, 0.7, 2), "Id", "cls", 64, "base", 1)
    study.analyse()
    page = study.page(["low", "high"])
    found = [table for table in tables(page) if list(table.columns).count("Label") == 2]
    assert found and found[0].columns.tolist()[:3] == ["Id", "Label", "Predicted"]


def test_a_seed_that_diverged_leaves_no_mean(tmp_path):
    study = MadeUp(tmp_path, 60)
    for seed in (1, 2, 3):
        quirks = {"diverged": True} if seed == 3 else {}
        study.add(right_or_wrong(60, 0.7, seed), "a", "cls", 64, "base", seed, **quirks)
    study.analyse()
    assert tables(study.page())[0]["Test loss"].tolist() == ["n/a ± n/a"]
    assert study.read("conditions")["brier"].isna().all()


def test_seeds_that_are_all_the_same_have_no_interval(tmp_path):
    study = MadeUp(tmp_path, 60)
    for seed in (1, 2):
        study.add(np.arange(60) < 40, "a", "cls", 64, "base", seed)
        study.add(np.arange(60) < 50, "b", "cls", 64, "base", seed)
    study.analyse()
    text = study.page()
    assert "nan" not in text
    settings = next(table for table in tables(text) if "Brier score" in table)
    assert settings["95% interval"].tolist() == ["n/a", "n/a"]


def test_intervals_over_few_seeds_end_at_zero_and_one(tmp_path):
    study = MadeUp(tmp_path, 60)
    study.add(np.arange(60) < 40, "a", "cls", 64, "base", 1)
    study.add(np.arange(60) < 58, "a", "cls", 64, "base", 2)
    study.analyse()
    settings = next(table for table in tables(study.page()) if "Brier score" in table)
    assert settings["95% interval"].tolist() == ["0.0000 to 1.0000"]
