"""Published figures beside measured ones."""

import pandas as pd
import pytest
from conftest import ROOT
from made_up import MadeUp, right_or_wrong

from lib.analysis.published import read_published, with_settings
from lib.command.console import UserError
from lib.page.tables import published_table

HEADER = "source,model,pooling,effective_batch,epochs,learning_rate,test_accuracy,note"


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> MadeUp:
    """Three conditions of one model, the first of which has two seeds."""
    variants = {"steep": {"learning_rate": 1e-3}}
    study = MadeUp(tmp_path_factory.mktemp("measured"), 500, variants=variants)
    study.add(right_or_wrong(500, 0.9, 1), "m", "cls", 64, "base", 1)
    study.add(right_or_wrong(500, 0.9, 2), "m", "cls", 64, "base", 2)
    study.add(right_or_wrong(500, 0.8, 3), "m", "padded-mean", 64, "base", 1)
    study.add(right_or_wrong(500, 0.8, 4), "m", "padded-mean", 64, "steep", 1)
    study.analyse()
    return study


def beside(study, tmp_path, *rows: str) -> pd.DataFrame:
    (tmp_path / "published.csv").write_text("\n".join([HEADER, *rows, ""]))
    study.analyse(more=f"--published {tmp_path}/published.csv")
    return study.read("published")


def test_the_same_condition_is_compared(study, tmp_path):
    (row,) = beside(study, tmp_path, "s,some-m,padded-mean,64,5,5e-5,0.8111,x").to_dict("records")
    conditions = study.read("conditions")
    measured = conditions.query("pooling == 'padded-mean' and variant == 'base'").iloc[0]
    assert row["accuracy"] == measured["accuracy"] and row["stated"]
    assert row["difference"] == pytest.approx(measured["accuracy"] - 0.8111)
    assert row["inside"] == (measured["low"] <= 0.8111 <= measured["high"])
    (far,) = beside(study, tmp_path, "s,Some-m,padded-mean,64,5,5e-5,0.99,x").to_dict("records")
    assert not far["inside"] and far["difference"] < -0.1


@pytest.mark.parametrize(
    "row",
    [
        "s,other,padded-mean,64,5,5e-5,0.8,",
        "s,some-m,max,64,5,5e-5,0.8,",
        "s,some-m,padded-mean,256,5,5e-5,0.8,",
        "s,some-m,padded-mean,64,3,5e-5,0.8,",
        "s,some-m,padded-mean,64,5,1e-5,0.8,",
    ],
)
def test_another_condition_is_not_measured(study, tmp_path, row):
    (row,) = beside(study, tmp_path, row).to_dict("records")
    assert pd.isna(row["accuracy"]) and pd.isna(row["inside"])


def test_the_rate_that_is_compared_is_the_one_in_use(tmp_path):
    scaled = {"lr_scaling": "sqrt", "lr_scaling_base": 32}  # doubled at a batch of 128
    study = MadeUp(tmp_path, 60, variants={"steep": scaled})
    for variant in ("base", "steep"):
        study.add(right_or_wrong(60, 0.8, 1), "m", "cls", 128, variant, 1)
    study.analyse()
    for rate, variant in (("5e-5", "base"), ("1e-4", "steep")):
        (row,) = beside(study, tmp_path, f"s,m,cls,128,5,{rate},0.8,").to_dict("records")
        assert row["variant"] == variant


def test_a_figure_is_joined_with_trainings_on_all_reviews_alone(tmp_path):
    study = MadeUp(tmp_path, 60, variants={"few": {"examples": 50}, "some": {"examples": 100}})
    for i, variant in enumerate(("few", "base", "some")):
        study.add(right_or_wrong(60, 0.8, i), "m", "cls", 64, variant, 1)
    study.analyse()
    rows = beside(study, tmp_path, "s,m,cls,64,5,5e-5,0.8,", "t,m,,,,,0.8,")
    assert rows[["source", "variant"]].to_numpy().tolist() == [["s", "base"], ["t", "base"]]


def test_epochs_are_compared_where_no_updates_take_their_place(tmp_path):
    study = MadeUp(tmp_path, 60, variants={"short": {"updates": 50}})
    for i, variant in enumerate(("short", "base")):
        study.add(right_or_wrong(60, 0.8, i), "m", "cls", 64, variant, 1)
    study.analyse()
    rows = beside(study, tmp_path, "s,m,cls,64,5,,0.8,", "t,m,cls,64,,,0.8,")
    assert rows[["source", "variant"]].to_numpy().tolist() == [
        *(["s", "base"], ["t", "short"], ["t", "base"])
    ]


def test_cells_of_published_figures_in_full():
    row = {"row": 0, "source": "s", "published_model": "M", "published_pooling": "CLS"}
    row |= {"published_batch": 16.0, "published_accuracy": 0.81, "published_note": "a note"}
    row |= {"batch": 32, "seeds": 2, "learned": 2, "accuracy": 0.8, "low": 0.75, "high": 0.84}
    row |= {"difference": -0.01, "inside": True}
    other = row | {"accuracy": 0.7, "low": 0.69, "high": 0.72, "difference": -0.11}
    several = [row, other | {"inside": False}, other | {"accuracy": 0.75, "inside": False}]
    rows = [row, *({**each, "row": 1, "source": "t"} for each in several)]
    rows.append(other | {"row": 2, "inside": False, "published_batch": None})
    first, more, outside = (
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in published_table(pd.DataFrame(rows)).splitlines()[2:]
    )
    begin = ["s", "M", "CLS", "16", "0.8100"]
    assert first == [*begin, "0.8000", "0.7500 to 0.8400", "-1.0", "yes", "a note"]
    assert more[5:9] == ["0.7000 to 0.8000", "3 conditions fit", "-11.0 to -1.0", "1 of 3"]
    assert outside[3:9] == ["-", "0.8100", "0.7000", "0.6900 to 0.7200", "-11.0", "no"]


def test_settings_that_are_words_in_some_runs_are_told_as_the_config_writes_them(tmp_path):
    study = MadeUp(tmp_path, 60, variants={"fast": {"compile": True, "micro_batch": "auto"}})
    for variant in ("base", "fast"):
        study.add(right_or_wrong(60, 0.8, 1), "m", "cls", 256, variant, 1)
    study.analyse()
    runs = study.read("runs")
    assert runs["settings.compile"].tolist() == ["auto", "true"]
    assert runs["settings.micro_batch"].tolist() == ["64", "auto"]
    assert runs["settings.deterministic"].tolist() == [True, True]


def test_names_and_cells_are_read_leniently(study, tmp_path):
    (row,) = beside(study, tmp_path, "s,org/Some-m, CLS ,64,,,0.8,").to_dict("records")
    assert row["published_pooling"] == "CLS" and row["seeds"] == 2


def test_a_table_without_rows_is_no_error(study, tmp_path):
    assert beside(study, tmp_path).empty


def test_what_a_source_does_not_state_agrees_with_any(study, tmp_path):
    rows = beside(study, tmp_path, "s,some-m,,64,5,,0.85,")
    assert (
        rows["pooling"].tolist() == ["cls", "padded-mean", "padded-mean"]
        and not rows["stated"].any()
    )
    text = published_table(rows)
    assert "3 conditions fit" in text and text.count("\n") == 2 and "†" not in text


def test_what_was_measured_with_a_run_that_did_not_learn_has_a_dagger(tmp_path):
    study = MadeUp(tmp_path, 200)
    for pooling, seed in (("cls", 1), ("cls", 2), ("padded-mean", 1)):
        failed = {"answer": 0} if (pooling, seed) == ("cls", 2) else {}
        study.add(right_or_wrong(200, 0.9, seed), "m", pooling, 64, "base", seed, **failed)
    study.analyse()
    sources = [f"s,m,{pooling},64,5,,0.85," for pooling in ("cls", "padded-mean", "")]
    found = beside(study, tmp_path, *sources)
    rows = published_table(found).splitlines()[2:]
    assert ["†" in row for row in rows] == [True, False, True]
    assert found["inside"].isna().tolist() == [True, False, True, False]  # without an interval
    assert " - " in rows[0] and " of 1 " in rows[2]


def test_whole_numbers_stay_whole_where_some_are_missing(study, tmp_path):
    beside(study, tmp_path, "s,some-m,padded-mean,64,5,,0.8,", "s,other,,,,,0.8,")
    text = (study.tables / "published.csv").read_text()
    header, *rows = [line.split(",") for line in text.splitlines()]
    for name in ("published_batch", "published_epochs", "batch", "seeds", "learned"):
        values = [row[header.index(name)] for row in rows]
        assert values[0].isdigit() and values[-1] == "", name


def test_a_table_that_lacks_columns_or_numbers_is_refused(study, tmp_path):
    (tmp_path / "bad.csv").write_text("source,model\ns,m\n")
    with pytest.raises(UserError, match="lacks the columns pooling, effective_batch"):
        read_published(tmp_path / "bad.csv", pd.DataFrame())
    measured = with_settings(study.read("conditions"), study.read("runs"))
    for row, message in (
        ("s,m,padded-mean,many,5,,0.8,", "column effective_batch holds something that is not a"),
        ("s,m,padded-mean,64,few,,0.8,", "column epochs holds something that is not a number"),
        ("s,m,Mean,64,5,,0.8,", "holds 'mean'; write padded-mean or masked-mean"),
        *(
            (f"s,m,padded-mean,64,5,,{accuracy},", "test_accuracy holds something that is not from")
            for accuracy in ("", "inf", "80.1")
        ),
    ):
        (tmp_path / "bad.csv").write_text(f"{HEADER}\n{row}\n")
        with pytest.raises(UserError, match=message):
            read_published(tmp_path / "bad.csv", measured)


def test_the_shipped_table_is_read(study):
    measured = with_settings(study.read("conditions"), study.read("runs"))
    table = read_published(ROOT / "config" / "published.csv", measured)
    assert len(table) == 18 and table["test_accuracy"].between(0.85, 0.95).all()
    assert set(table.filter(like="settings.")) == {
        *("settings.epochs", "settings.optimizer", "settings.learning_rate", "settings.lr_scaling")
    }
