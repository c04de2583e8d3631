"""Published figures beside measured ones, and tables in the forms of published studies."""

import pandas as pd
import pytest
from conftest import ROOT, call
from made_up import MadeUp, right_or_wrong

import published
from lib.cli import UserError
from lib.study import read_table
from lib.tables import published_table

HEADER = "source,model,pooling,effective_batch,epochs,test_accuracy,note"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    """settings.csv of three settings of one model, the first of which has two seeds."""
    study = MadeUp(tmp_path_factory.mktemp("measured"), 500)
    study.add(right_or_wrong(500, 0.9, 1), "m", "cls", 64, "base", 1)
    study.add(right_or_wrong(500, 0.9, 2), "m", "cls", 64, "base", 2)
    study.add(right_or_wrong(500, 0.8, 3), "m", "mean", 64, "base", 1)
    study.add(right_or_wrong(500, 0.8, 4), "m", "mean", 64, "steep", 1)
    study.analyse({"base": {}, "steep": {"lr_scaling": "sqrt"}})
    return study.tables / "settings.csv"


def beside(settings, tmp_path, *rows: str) -> pd.DataFrame:
    (tmp_path / "published.csv").write_text("\n".join([HEADER, *rows, ""]))
    call(
        published,
        f"--published {tmp_path}/published.csv --settings {settings} --models m=org/Some-Model "
        f"--variants base --epochs 5 --out {tmp_path}/out.csv",
    )
    return pd.read_csv(tmp_path / "out.csv")


def test_the_same_setting_is_compared(settings, tmp_path):
    (row,) = beside(settings, tmp_path, "s,some-model,mean,64,5,0.8111,x").to_dict("records")
    measured = pd.read_csv(settings).query("pooling == 'mean' and variant == 'base'").iloc[0]
    assert row["accuracy"] == measured["accuracy"] and row["stated"]
    assert row["difference"] == pytest.approx(measured["accuracy"] - 0.8111)
    assert row["inside"] == (measured["low"] <= 0.8111 <= measured["high"])
    (far,) = beside(settings, tmp_path, "s,Some-Model,mean,64,5,0.99,x").to_dict("records")
    assert not far["inside"] and far["difference"] < -0.1


@pytest.mark.parametrize(
    "row",
    ["s,other,mean,64,5,0.8,", "s,some-model,max,64,5,0.8,", "s,some-model,mean,256,5,0.8,"],
)
def test_another_setting_is_not_measured(settings, tmp_path, row):
    (row,) = beside(settings, tmp_path, row).to_dict("records")
    assert pd.isna(row["accuracy"]) and pd.isna(row["inside"])


def test_other_epochs_are_another_setting(settings, tmp_path):
    rows = beside(settings, tmp_path, "s,m,mean,64,3,0.8,", "s,org/Some-Model, CLS ,64,,0.8,")
    assert rows["published_pooling"].tolist() == ["mean", "CLS"]
    assert pd.isna(rows["accuracy"][0]) and rows["seeds"][1] == 2


def test_a_table_without_rows_is_no_error(settings, tmp_path):
    assert beside(settings, tmp_path).empty


def test_what_a_source_does_not_state_agrees_with_any(settings, tmp_path):
    rows = beside(settings, tmp_path, "s,some-model,,64,5,0.85,")
    assert rows["pooling"].tolist() == ["cls", "mean"] and not rows["stated"].any()
    text = published_table(read_table(tmp_path / "out.csv"))
    assert "2 settings fit" in text and text.count("\n") == 2


def test_a_table_that_lacks_columns_or_numbers_is_refused(settings, tmp_path):
    (tmp_path / "bad.csv").write_text("source,model\ns,m\n")
    with pytest.raises(UserError, match="lacks the columns pooling, effective_batch"):
        published.read_published(tmp_path / "bad.csv")
    with pytest.raises(UserError, match="column effective_batch holds something that is not a"):
        beside(settings, tmp_path, "s,m,mean,many,5,0.8,")
    for accuracy in ("", "inf", "80.1"):
        with pytest.raises(UserError, match="test_accuracy holds something that is not from 0"):
            beside(settings, tmp_path, f"s,m,mean,64,5,{accuracy},")


def test_the_shipped_table_is_read():
    table = published.read_published(ROOT / "config" / "published.csv")
    assert len(table) == 18 and table["test_accuracy"].between(0.85, 0.95).all()


def test_forms_have_the_columns_of_published_tables(tmp_path):
    study = MadeUp(tmp_path)
    for batch in (64, 256):
        study.add(right_or_wrong(400, 0.9, batch), "m", "cls", batch, "base", 1)
    study.add_baseline(right_or_wrong(400, 0.8, 3))
    study.analyse()
    study.page()
    tables = {path.stem: pd.read_csv(path) for path in study.tables.glob("form_*.csv")}
    accuracies = ["Train Accuracy", "Validation Accuracy", "Test Accuracy"]
    assert tables["form_accuracy"].columns.tolist() == ["model", *accuracies]
    best = tables["form_best_epoch"]
    assert best.columns.tolist() == ["model", "val_acc@epoch", "test_loss", "test_acc"]
    assert best["val_acc@epoch"][0].endswith("@1") and best["val_acc@epoch"][1] == "0.8000"
    batch = tables["form_batch"]
    assert batch.columns.tolist() == ["model", "batch", *accuracies, "Training Durations"]
    assert batch["Training Durations"].tolist() == ["1m 01s", "1m 02s", "2.0 s"]
    loss = tables["form_loss"]
    assert loss.columns.tolist() == ["model", "batch", "Test Loss", "Test Accuracy"]
    assert loss["batch"].tolist()[:2] == [64, 256] and pd.isna(loss["batch"][2])
