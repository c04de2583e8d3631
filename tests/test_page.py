"""The summary of made-up studies, read as GitHub would read it."""

import html
import itertools
import random
import re

import numpy as np
import pandas as pd
import pytest
from browser import needs_chromium, opened
from conftest import call
from made_up import MadeUp, right_or_wrong
from markdown_it import MarkdownIt

import explain
from lib.command.markup import escape
from lib.page import latex
from lib.page.html import readable, render, sortable_tables
from lib.page.markdown import FOLD, excerpt, facts, folded
from lib.page.sections import SECTIONS
from lib.page.summary import opening
from lib.study.catalog import figures_in

HOSTILE = [
    "a | b || c",
    "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "`code` ```fence``` **bold** _it_ ~~no~~ $x^2$ [link](http://evil.example) ![i](x)",
    "line one\nline two\r\n\n# heading\n- item\u2028next\x00\x1b[31m",
    "www.evil.example http://evil.example &amp; &lt;b&gt; \\| \\",
    "</td></tr></table>",
]
PLAIN = ["modern_bert", "p < 0.001", "p = 0.03 > 0", "R&D, A & B", "3 * 4", "a [CLS] b", "C:\\new"]
SPLIT = {"reviews": 9}
NOT_ASKED = {"Published and measured", "Learning curve over data", "Tuned learning rates"}
NOT_ASKED |= {"How much of a text", "What does a prediction cost?"}


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


def main_table(text: str) -> pd.DataFrame:
    return next(table for table in tables(text) if "Train accuracy" in table)


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
    main = main_table(usual.text)
    assert main["Model"].tolist()[-3:] == [
        "TF-IDF, full text",
        "TF-IDF, 128 tokens of a",
        "TF-IDF, 128 tokens of b",
    ]
    assert "a †" in main["Model"].tolist() and len(main) == 8 + 3
    row = main[(main["Model"] == "b") & (main["Pooling"] == "cls")].iloc[1]
    assert (row["Batch"], row["Seeds"]) == ("256", "1") and "±" not in row["Test accuracy"]


def headings(page: str) -> list[str]:
    return re.findall(r"^## (.*)", page, re.MULTILINE)


def test_the_page_has_its_parts_and_what_it_links_to(usual):
    assert headings(usual.text)[0] == "Findings" and headings(usual.text)[-1] == "What was run"
    others = {"Map of the test split", "Attention in one text"}
    assert set(SECTIONS) - set(headings(usual.text)) == NOT_ASKED | others
    images = re.findall(r"!\[[^]]+\]\(([^)]+)\)", usual.text)
    assert images and len(images) == len(set(images))
    assert all((usual.folder / image).read_text().startswith("<svg") for image in images)
    links = re.findall(r"[^!]\[[^]]+\]\(([^)]+)\)", usual.text)
    assert links and all((usual.folder / link).is_file() for link in links)


def test_the_page_holds_no_html_but_folds(usual):
    tokens = without_folds(parsed(usual.text))
    kinds = {token.type for token in tokens}
    kinds |= {child.type for token in tokens for child in token.children or []}
    assert not kinds & {"html_block", "html_inline", "fence", "code_block"}


def without_folds(tokens: list) -> list:
    """The tokens of a page but for the marks of folds, which are balanced and not nested."""
    marks = [token for token in tokens if FOLD.fullmatch(token.content.strip())]
    assert {token.type for token in marks} == {"html_block"}
    opening, closing = marks[::2], marks[1::2]
    assert all("<summary>" in token.content for token in opening)
    assert {token.content.strip() for token in closing} == {"</details>"}
    return [token for token in tokens if token not in marks]


def unfolded(text: str) -> str:
    """What a reader sees of a page who opens nothing."""
    return re.sub(r"(?s)<details>.*?</details>", "", text)


def test_a_reader_who_opens_nothing_sees_answer_figures_tables_and_warnings(usual):
    seen = unfolded(usual.text)
    for shown in ("![", "| Question", "**On these runs alone**", "† **Did not learn**"):
        assert seen.count(shown) == usual.text.count(shown) > 0
    assert "comes from one seed**" in seen and "[tables/findings.csv]" in seen
    for note in ("Each line compares two levels", "*Does padding in", "± is the", "Start-up is"):
        assert note in usual.text and note not in seen
    prose = [line for line in seen.splitlines() if line and line[0] not in "|!#-["]
    assert sum(len(line.split()) for line in prose) < 400


def test_the_answer_stands_before_everything(usual):
    title, answer, what, *_ = usual.text.split("\n\n")
    assert title.startswith("# Study") and what.startswith("15 runs on d: ")
    assert answer.startswith("With fewer than three seeds there is no verdict")
    page = (usual.folder / "pages/answer.html").read_text()
    paragraph, picture = page.strip().split("</p>\n<p>")
    assert paragraph.removeprefix("<p>") == answer
    assert picture.startswith('<img src="data:image/svg+xml;base64,')


def test_folds_are_elements_on_the_page_of_html(usual):
    page = (usual.folder / "pages/summary.html").read_text()
    count = usual.text.count("<details>")
    for tag in ("<details><summary>How to read this", "</details>"):
        assert tag in page
    assert page.count("<details>") == page.count("</details>") == count > 10
    assert "&lt;details" not in page


@pytest.mark.parametrize(
    "text", ["</details>", "<details>", "<details><summary>x</summary>", "<script>a</script>"]
)
def test_texts_of_data_fold_nothing(tmp_path, text):
    told = [escape(text), f"- {escape(text)}", f"| a |\n| --- |\n| {escape(text)} |"]
    page = render("\n\n".join([folded("How", *told), *told, f"so {text}"]), tmp_path)
    assert re.findall(r"<(?:details|/details|summary|script)>", page) == [
        "<details>",
        "<summary>",
        "</details>",
    ]
    assert page.count(html.escape(text)) == 7


def test_texts_are_called_what_the_dataset_calls_them(tmp_path):
    study = MadeUp(tmp_path, 60, noun="support-tickets", variants={"few": {"examples": 600}})
    for model, variant, seed in itertools.product("ab", ("base", "few"), (1, 2, 3)):
        right = right_or_wrong(60, 0.8, 10 * seed + (model == "b"))
        study.add(right, model, "cls", 64, variant, seed)
    study.add_baseline(right_or_wrong(60, 0.8, 9))
    study.analyse()
    text = study.page(drawn=True).partition("## What was run")[0]
    assert "600 support-tickets" in text and "60 test support-tickets" in text
    assert "from 600 training support-tickets?" in text and "Support-tickets" in text
    made = [text, *(path.read_text() for path in study.tables.glob("*.tex"))]
    for path in (tmp_path / "figures").iterdir():
        made.append(re.sub("(?s)<script>.*?vegaEmbed.*?</script>", "", path.read_text()))
    made.append(" ".join(study.read("findings")["answer"]))
    told = [each for page in made for each in re.findall("(?i).{20}review.{20}", page)]
    assert told == []
    assert (
        "Training support-tickets (logarithmic)"
        in (tmp_path / "figures/data_curve.svg").read_text()
    )


def test_statistics_of_the_tables_agree_with_five_lines_of_pandas(usual):
    folder = usual.runs[0]
    table = pd.read_parquet(folder / "predictions.parquet", partitioning=None)
    measures = usual.read("measures")
    assert measures["accuracy"][0] == (table["label"] == table["prediction"]).mean()


def test_seeds_are_counted_in_the_conditions(usual):
    settings = usual.read("conditions")
    several = settings[settings["seeds"] > 1]
    several = several[several["learned"] == several["seeds"]]
    assert set(several["interval"]) == {"seeds and reviews"} and several["deviation"].notna().all()
    single = settings[settings["seeds"] == 1]
    assert set(single["interval"]) == {"Wilson"} and single["deviation"].isna().all()


def test_hostile_texts_stay_texts(tmp_path):
    study = MadeUp(tmp_path, 60, texts=HOSTILE)
    study.add(right_or_wrong(60, 0.6, 1), "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(60, 0.6, 2), "b", "cls", 64, "base", 42)
    study.analyse()
    page = study.page(["bad|<b>", "good`*"])
    tokens = without_folds(parsed(page))
    kinds = {child.type for token in tokens for child in token.children or []}
    assert not kinds & {"html_inline", "s_open"}
    code = {x.content for token in tokens for x in token.children or [] if x.type == "code_inline"}
    assert code == {*map(str, study.runs), "scripts/predict.py"}
    assert not {token.type for token in tokens} & {"html_block", "fence"}
    links = [
        child for token in tokens for child in token.children or [] if child.type == "link_open"
    ]
    assert not any("evil" in link.attrGet("href") for link in links)
    errors = [table for table in tables(page) if "Text" in table]
    assert {"bad|<b>", "good`*"} == {label for table in errors for label in table["Label"]}
    reviews = {text for table in errors for text in table["Text"]}
    assert "a | b || c" in reviews and "</td></tr></table>" in reviews
    assert "<script>alert(1)</script><img src=x onerror=alert(2)>" in reviews


@needs_chromium
def test_hostile_texts_do_not_run_in_pages(tmp_path):
    study = MadeUp(tmp_path, 60, texts=HOSTILE)
    study.add(right_or_wrong(60, 0.6, 1), "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(60, 0.6, 2), "b", "cls", 64, "base", 42)
    study.analyse()
    study.page(["</script><script>alert(3)</script>", "good"], drawn=True)
    for name in ("summary", "errors"):
        with opened(tmp_path / f"pages/{name}.html") as shown:
            shown.get_by_text("<script>alert(1)</script>").first.wait_for()
            shown.get_by_text("</td></tr></table>").first.wait_for()


@pytest.mark.parametrize("text", [*HOSTILE, *PLAIN])
def test_escaped_text_is_shown_as_it_is(text):
    cell = f"| a | b |\n| --- | --- |\n| {escape(text)} | x |"
    (table,) = tables(cell)
    assert table["a"][0] == " ".join("".join(c if c.isprintable() else " " for c in text).split())
    assert "html" not in str({token.type for token in parsed(cell)})


def test_no_mixture_of_marks_is_more_than_text():
    chance = random.Random(1)
    pieces = [*"ab _*~`[]()<>!&;#|\\$:/.@1é", "&amp;", "<b>", "](u)", "[a]: u", "<a@b.c>", "<!-- "]
    for _ in range(2000):
        text = "".join(chance.choices(pieces, k=chance.randint(1, 14)))
        want = " ".join(text.split())
        cell = parsed(f"| a | b |\n| --- | --- |\n| {escape(text)} | x |")
        paragraph = parsed(f"so {escape(text)} so")
        assert [shown(token) for token in cell if token.type == "inline"] == ["a", "b", want, "x"]
        assert shown(paragraph[1]) == f"so {want} so"
        found = {child.type for token in [*cell, *paragraph] for child in token.children or []}
        assert found <= {"text", "text_special"}, text


@pytest.mark.parametrize("text", PLAIN)
def test_text_that_is_no_markup_is_readable_as_it_is_pasted(text):
    assert escape(text) == text


def test_excerpts_are_cut_between_words_and_facts_are_lists():
    words = excerpt("word<br />" * 100)
    assert set(words.split()) == {"word", "…"} and words.endswith(" …")
    assert excerpt("x" * 500) == "x" * 160 + " …"
    assert excerpt("a short text") == "a short text"
    assert facts({"Data": "a\nb", "Empty": ""}) == "- **Data:** a b"


@pytest.mark.parametrize("classes", [2, 3])
def test_one_run_alone_makes_a_page(tmp_path, classes):
    study = MadeUp(tmp_path, 90, classes)
    study.add(right_or_wrong(90, 0.7, 1), "only", "cls", 64, "base", 42)
    study.analyse()
    page = study.page()
    found = tables(page)
    assert main_table(page)["Model"].tolist() == ["only"]
    confusion = next(table for table in found if "Recall" in table)
    assert len(confusion) == classes and f"As {classes - 1}" in confusion
    assert "## By model and setting" in page and "TF-IDF is a logistic" not in page


def test_three_classes_and_a_run_at_the_majority(tmp_path):
    study = MadeUp(tmp_path, 90, 3)
    right = right_or_wrong(90, 0.7, 1)
    study.add(right, "a", "cls", 64, "base", 42)
    study.add(right_or_wrong(90, 0.7, 2), "b", "cls", 64, "base", 42, answer=2)
    study.add_baseline(right_or_wrong(90, 0.8, 3))
    study.analyse()
    page = study.page(["low", "middle", "high"])
    assert "b †" in main_table(page)["Model"].tolist()
    assert "b right, a wrong" not in page
    assert f"Most confidently wrong, a** ({(~right).sum()} errors)" in page
    assert "Wrong by every model" not in page  # but one


@pytest.mark.parametrize(
    ("sources", "said"),
    [
        ({"a": "hub", "b": "folder"}, None),
        ({"a": "scratch"}, "a started from random weights.** The study shows the workflow, not"),
        ({"a": "scratch", "b": "scratch"}, "a and b started from random weights.** The study"),
        (
            {"a": "scratch", "b": "hub", "c": "folder"},
            "a started from random weights.** A difference between it and b and c may be "
            "one of pretraining too.",
        ),
    ],
)
def test_the_opening_is_true_of_every_mixture_of_encoders(sources, said):
    runs = [
        {"dataset": "d", "model": model, "encoder": {"source": source}}
        for model, source in sources.items()
    ]
    splits = dict.fromkeys(("train", "valid", "test"), SPLIT)
    text = opening(runs, splits, "reviews", "accuracy", all_tested=True)
    assert (said or "9 test reviews") in text
    assert ("random weights" in text) == (said is not None)
    assert ("not what pretraining buys" in text) == (set(sources.values()) == {"scratch"})


@pytest.mark.parametrize("baseline", [True, False])
def test_a_study_of_which_nothing_learned_has_all_sections(tmp_path, baseline):
    study = MadeUp(tmp_path, 60)
    for model, seed in (("a", 1), ("a", 2), ("b", 1)):
        study.add(np.ones(60, bool), model, "cls", 64, "base", seed, answer=0)
    if baseline:
        study.add_baseline(right_or_wrong(60, 0.8, 1))
    study.analyse()
    runs = " ".join(map(str, study.runs))
    flags = (
        f"--table {study.tables}/runs.parquet --runs {runs} --reviews {study.reviews} --threads 1"
    )
    tokens = " ".join(str(study.tokens(model)) for model in ("a", "b"))
    call(explain, f"{flags} --tokens {tokens} --sample 10 --seed 1 --out {study.tables}")
    page = study.page(drawn=True)
    assert set(headings(page)) == set(SECTIONS) - NOT_ASKED | {"What was run"}
    assert page.count("No run stands for a model of which none learned: a, b.") == 1
    assert "Best run:" not in page and "Wrong by every model" not in page
    tables(page)
    for name in figures_in(["results", "statistics", "errors", "tsne", "attention"]):
        of_models = {"findings", "tsne", "attention"} | (
            set() if baseline else {"reliability", "acceptance", "lengths"}
        )
        svg = (tmp_path / f"figures/{name}.svg").read_text()
        assert ("nothing to show" in svg) == (name in of_models), name


def test_a_model_that_did_not_learn_is_said_to_be_left_out(tmp_path):
    study = MadeUp(tmp_path, 60)
    study.add(right_or_wrong(60, 0.8, 1), "a", "cls", 64, "base", 1)
    study.add(right_or_wrong(60, 0.8, 1), "b", "cls", 64, "base", 1, answer=0)
    study.analyse()
    page = study.page()
    assert re.findall("Best run: `(.*)`", page) == [str(study.runs[0])]
    assert "No run stands for a model of which none learned: b." in page


@pytest.fixture(scope="module")
def daggers(tmp_path_factory) -> MadeUp:
    """One model, of which a seed at batch 64 did not learn; the baseline is no better."""
    study = MadeUp(tmp_path_factory.mktemp("daggers"))
    for batch, seed, accuracy in ((64, 1, 0.9), (64, 2, 0.9), (256, 1, 0.6)):
        failed = {"confidence": 0.97} | ({"answer": 0} if seed == 2 else {})
        study.add(right_or_wrong(400, accuracy, batch), "a", "cls", batch, "base", seed, **failed)
    study.add_baseline(right_or_wrong(400, 0.5, 3), chance_p=0.5, confidence=0.97)
    study.analyse()
    study.text = study.page(drawn=True)
    return study


def test_every_table_of_the_page_marks_what_did_not_learn(daggers):
    models = {"a †", "a", "TF-IDF, full text"}
    main, conditions, accepted, confusion = (
        table[table.columns[0]].tolist()
        for table in tables(daggers.text)
        if table.columns[0].lower() == "model"
    )
    assert set(main) == set(conditions) == models
    assert set(accepted) == set(confusion) == models - {"a †"}
    assert "Did not learn" in daggers.text and "model=TF-IDF" not in daggers.text


def test_every_table_with_runs_that_did_not_learn_has_a_column_for_it(daggers):
    names = ["runs", "histories", "measures", "reliability", "acceptance", "classes"]
    names += ["confusion", "lengths"]
    for name in names:
        assert not daggers.read(name)["learned"].all(), name
    assert daggers.read("conditions")["learned"].tolist() == [1, 1, 1]


def test_every_figure_marks_what_did_not_learn(daggers):
    for name, count in {"learning_curves": 2, "batches": 1, "cost": 1}.items():
        svg = (daggers.folder / f"figures/{name}.svg").read_text()
        assert svg.count(">†<") == count, name


def test_tables_of_the_report_show_their_first_rows_with_names():
    row = {"label": 1, "prediction": 0, "predictions": "0 2", "text": "word " * 40}
    table = pd.DataFrame([row | {"id": 90_000 + i} for i in range(300)])
    page = sortable_tables({"long": table}, ["x", "y", "z"])
    assert "The first 250 of 300 rows of tables/long.csv." in page
    assert "90000" in page and "90249" in page and "90250" not in page
    found = readable(pd.DataFrame([row]), ["x", "y", "z"]).iloc[0]
    assert found.tolist() == ["y", "x", "x or z", "word " * 24 + "…"]


def test_shared_settings_are_told_once_and_others_by_variant(tmp_path):
    study = MadeUp(tmp_path, 60, variants={"sqrt": {"lr_scaling": "sqrt", "epochs": 9}})
    for variant in ("base", "sqrt"):
        study.add(right_or_wrong(60, 0.7, 1), "a", "cls", 64, variant, 1)
    study.analyse()
    found = dict(re.findall(r"^- \*\*(.+?):\*\* (.*)$", study.page(), re.MULTILINE))
    assert found["Variant base"] == "epochs 5, lr_scaling none"
    assert found["Variant sqrt"] == "epochs 9, lr_scaling sqrt"
    assert "optimizer adam" in found["Training"] and "epochs" not in found["Training"]


@needs_chromium
def test_tables_of_the_report_name_classes_and_sort_numbers(daggers, tmp_path):
    shown = {name: daggers.read(name) for name in ("conditions", "confident_errors")}
    (tmp_path / "tables.html").write_text(sortable_tables(shown, ["bad", "good"]))
    with opened(tmp_path / "tables.html") as page:
        table = page.locator(".dt-container").first
        heading = table.locator("th", has_text="batch")
        heading.locator(".dt-column-order").click()
        batches = table.locator("tbody tr td:nth-child(3)")
        assert batches.all_inner_texts() == ["", "64", "256"]
        errors = page.locator(".dt-container").nth(1)
        assert set(errors.locator("tbody td:nth-child(3)").all_inner_texts()) <= {"bad", "good"}
        texts = errors.locator("tbody td:last-child").all_inner_texts()
        assert {word for text in texts for word in text.split()} <= {
            *("good", "film", "plot", "bad", "song", "…")
        }
        assert any(text.endswith(" …") for text in texts)


def test_tables_for_papers_have_the_cells_of_the_page(usual):
    lines = (usual.tables / "results.tex").read_text().splitlines()
    found = [line.removesuffix(r" \\").split(" & ") for line in lines if line.endswith(r" \\")]
    (main,) = (table for table in tables(usual.text) if "Examples/s" in table)
    bold = usual.text.partition("## Results")[2].partition("\n\n**")[0].count("**") / 2
    assert "".join(lines).count(r"\textbf{") == bold > 0
    plain = [
        [re.sub(r"\\textbf\{(.*)\}", r"\1", cell).replace(r"\dag{}", "†") for cell in row]
        for row in found
    ]
    plain = [[cell.replace(r"$\pm$", "±") for cell in row] for row in plain]
    assert plain == [list(main.columns), *main.to_numpy().tolist()]
    assert r"\toprule" in lines and r"\bottomrule" in lines
    assert r"\begin{tabular}{ll" + "r" * 10 + "}" in lines  # texts to the left, numbers right
    best = re.findall(r"\*\*([^*]+)\*\*", usual.text.partition("## Results")[2])
    (first, *_) = re.findall(r"\\textbf\{([^}]+)\}", "".join(lines))
    assert first.replace(r"$\pm$", "±") == best[0]
    findings = (usual.tables / "findings.tex").read_text()
    assert r"batch 256 $-$ batch 64 & on these runs alone" in findings


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("my_model & 5% #1", r"my\_model \& 5\% \#1"),
        (r"\input{x} $y$", r"\textbackslash{}input\{x\} \$y\$"),
        ("a~b^c\nd", r"a\textasciitilde{}b\textasciicircum{}c d"),
        ("[x]", "{[}x]"),
        ("-1.2 to +3 of imdb-25k", "$-$1.2 to +3 of imdb-25k"),
    ],
)
def test_texts_in_latex_stay_texts(text, escaped):
    assert latex.escape(text) == escaped


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
    main = main_table(study.page()).set_index("Model")
    assert main.loc["b †", "Test loss"] == "n/a"
    measures = study.read("measures").set_index("model")
    assert measures.loc["b", ["brier", "calibration_error"]].isna().all()


def test_a_study_of_which_all_diverged_has_a_page(tmp_path):
    study = MadeUp(tmp_path, 40)
    study.add(np.ones(40, bool), "Label", "cls", 64, "base", 1, diverged=True)
    study.add(np.ones(40, bool), "Id", "cls", 64, "base", 1, diverged=True)
    (found,) = study.analyse().query("question.str.startswith('Did any')")["answer"]
    assert "diverged" in found
    assert "Label †" in main_table(study.page())["Model"].tolist()


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
    assert main_table(study.page())["Test loss"].tolist() == ["n/a ± n/a"]
    assert study.read("conditions")["brier"].isna().all()


def test_means_over_runs_that_did_not_all_learn_have_no_interval(tmp_path):
    study = MadeUp(tmp_path, 60)
    for seed in (1, 2):
        study.add(right_or_wrong(60, 0.8, seed), "a", "cls", 64, "base", seed)
        failed = {"answer": 0} if seed == 2 else {}
        study.add(right_or_wrong(60, 0.8, 9 + seed), "b", "cls", 64, "base", seed, **failed)
    study.analyse()
    text = study.page()
    assert "nan" not in text
    settings = next(table for table in tables(text) if "Brier score" in table)
    assert settings["95% interval"].tolist()[1] == "n/a" != settings["95% interval"].tolist()[0]


def test_intervals_over_few_seeds_end_at_zero_and_one(tmp_path):
    study = MadeUp(tmp_path, 60)
    study.add(np.arange(60) < 40, "a", "cls", 64, "base", 1)
    study.add(np.arange(60) < 58, "a", "cls", 64, "base", 2)
    study.analyse()
    settings = next(table for table in tables(study.page()) if "Brier score" in table)
    assert settings["95% interval"].tolist() == ["0.0000 to 1.0000"]


def test_what_a_tokenizer_does_not_know_is_told_beside_the_model(tmp_path):
    study = MadeUp(tmp_path)
    for model in ("a", "b"):
        study.add(np.ones(400, bool), model, "cls", 64, "base", 1)
    warning = "7.1% of the tokens are unknown to the tokenizer"
    study.told["b"] = {"unknown_share": 0.071, "warning": warning}
    study.analyse()
    text = study.page()
    assert text.index("# Study") < text.index(f"**b: {warning}.**") < text.index("## ")
    assert "**a: " not in text
    for model, unknown in (("a", "0.0"), ("b", "7.1")):
        (line,) = re.findall(rf"^- \*\*Model {model}:\*\* .*$", text, re.MULTILINE)
        assert line.endswith(f"{unknown}% of the tokens unknown")
