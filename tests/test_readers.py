"""Files as people have them: read as they were written, or refused in one line."""

import bz2
import csv
import json
import shlex
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import download
from lib.command.console import UserError
from lib.data import delimited, readers

PLAIN = [(f"a {('good', 'bad')[n % 2]} film, number {n}", str(n % 2)) for n in range(60)]
HARD = [  # texts with everything that has to be quoted
    ('"Wow", he said', "0"),
    ('it ends with "wow"', "1"),
    ('"', "0"),
    ("two\nlines, with commas\tand tabs", "1"),
    ("a\ttab, a back\\slash \\", "0"),
    ('""', "1"),
]
TEXTS = [text for text, _ in PLAIN]
LABELS = [n % 2 for n in range(60)]


def read(path: Path, flags: str = "") -> list[tuple[str, int]]:
    """The reviews that are made of a file, each with its label."""
    out = path.parent / "out"
    line = f"files --paths {path} --near-duplicates 1 --out {out} {flags}"
    download.main(download.arguments().parse_args(shlex.split(line)))
    table = pq.read_table(out / "reviews.parquet")
    about = json.loads((out / "reviews.json").read_text())
    assert sum(about["rows_by_file"].values()) == about["rows"] + about["left_out_by_where"]
    assert about["rows"] == about["reviews"] + sum(about["dropped"].values())
    return list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))


def refused(message: str, path: Path, flags: str = "") -> None:
    with pytest.raises(UserError, match=message):
        read(path, flags)


def pairs(rows) -> list[tuple[str, int]]:
    return [(text, int(label)) for text, label in rows]


def unquoted(path: Path, rows, delimiter: str = "\t") -> Path:
    lines = [("text", "label"), *rows]
    path.write_text("".join(f"{text}{delimiter}{label}\n" for text, label in lines))
    return path


def written(path: Path, rows, **form) -> Path:
    with path.open("w", newline="", encoding=form.pop("encoding", "utf-8")) as file:
        csv.writer(file, **form).writerows([("text", "label"), *rows])
    return path


def spark(path: Path, rows, delimiter: str) -> Path:
    """A file as Spark writes it, which escapes quotes and escapes in quoted values alone."""

    def value(text: str) -> str:
        if any(mark in text for mark in f'{delimiter}"\n'):
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return text

    return unquoted(path, [(value(text), label) for text, label in rows], delimiter)


def jsonl(path: Path, more: str = "", **columns) -> Path:
    """A file of texts and labels, with other columns and, at its end, other lines."""
    columns = {"text": TEXTS, "label": LABELS} | columns
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows) + more)
    return path


def parquet(path: Path, **columns) -> Path:
    pq.write_table(pa.table({"text": pa.array(TEXTS), "label": LABELS} | columns), path)
    return path


@pytest.mark.parametrize(
    "texts",
    [
        {10: '" {}', 40: '" {}', 41: '" {}', 50: '" {}'},  # nothing closes them
        {10: '" {}', 40: '{} "'},  # one that a later row closes
        {10: '" {}', 40: '{} "', 41: '" {}', 42: '{} "'},
        {10: '"quoted" {}', 20: '"{}', 59: '{} ""'},
    ],
)
def test_a_tsv_without_quoting_keeps_all_its_rows(tmp_path, texts):
    rows = [(texts.get(n, "{}").format(text), label) for n, (text, label) in enumerate(PLAIN)]
    path = unquoted(tmp_path / "x.tsv", rows)
    assert read(path) == read(path, "--quote none") == read(path, "--quote ''") == pairs(rows)
    refused(r"x.tsv'.* line (12|22).*`quote", path, "--quote '\"'")


@pytest.mark.parametrize("first", [True, False])
def test_a_value_of_a_csv_that_holds_whole_rows_is_refused(tmp_path, first):
    texts = {10: '" {}', 20: '{} "'}
    rows = [(texts.get(n, "{}").format(f"film {n}"), str(n % 3)) for n in range(60)]
    path = tmp_path / "x.csv"
    lines = [("text", "label"), *rows]
    path.write_text("".join(f"{a},{b}\n" if first else f"{b},{a}\n" for a, b in lines))
    for flags in ("", "--quote '\"'", "--escape '\\'"):
        refused(r"in line 12 holds whole rows, 11 lines .* `quote", path, flags)
    assert read(path, "--quote none") == pairs(rows)


def test_a_class_that_lies_in_one_value_alone_is_found(tmp_path):
    rows = [(f"film {n}", str(n // 30)) for n in range(90)]
    rows[59] = ('"Good grief, what a film', "1")
    rows[89] = ('it says "yes"', "2")
    path = tmp_path / "x.tsv"
    path.write_text("label\ttext\n" + "".join(f"{label}\t{text}\n" for text, label in rows))
    assert read(path) == pairs(rows)


def test_a_line_of_another_length_among_swallowed_rows_hides_nothing(tmp_path):
    rows = [[f"film {n}", str(n % 2)] for n in range(60)]
    rows[10][0], rows[30][0] = '"a film', 'the end"'
    rows[20][0] = "one, two, three"
    refused("begins in line 12 holds whole rows", unquoted(tmp_path / "x.csv", rows, ","))


def test_a_list_in_a_review_is_read_where_the_quote_is_named(tmp_path):
    rows = [*PLAIN, ("Acting,1\nPlot,0\nOverall great", "1"), ("plot,1\nmusic", "0")]
    path = written(tmp_path / "x.csv", rows)
    refused("holds whole rows", path)
    assert read(path, "--quote '\"'") == pairs(rows)
    swallowed = unquoted(tmp_path / "y.tsv", [('"' + TEXTS[0], "0"), *PLAIN, ('end"', "1")])
    refused("line 2 .*holds whole rows", swallowed, "--quote '\"'")


def test_a_column_of_texts_alone_is_read_and_rows_in_a_value_are_found(tmp_path):
    def texts(path: Path, quote: str | None = None) -> list[str]:
        batches = readers.open_file(path, ["text"], quote)()
        return [text for batch in batches for text in batch.column(0).to_pylist()]

    rows = [*PLAIN, *HARD]
    assert texts(written(tmp_path / "x.csv", rows)) == [text for text, _ in rows]
    with (tmp_path / "y.csv").open("w") as file:
        csv.writer(file).writerows([["text"], ["one\ntwo\nthree"], ["four"]])
    assert texts(tmp_path / "y.csv") == ["one\ntwo\nthree", "four"]
    rows = [('"a film', "0"), *((f"film {n}", "1") for n in range(60)), ('the end"', "1")]
    assert len(texts(unquoted(tmp_path / "z.tsv", rows))) == 62
    swallowed = unquoted(tmp_path / "z.csv", rows, ",")
    with pytest.raises(UserError, match=r"line 2 holds whole rows"):
        texts(swallowed)
    assert len(texts(swallowed, "none")) == 62 and len(texts(swallowed, '"')) == 1


@pytest.mark.parametrize("delimiter", [",", "\t"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quotes_that_are_doubled_are_read_as_they_were_meant(tmp_path, delimiter, quoting, end):
    rows = [*PLAIN, *HARD]
    path = tmp_path / ("x.csv" if delimiter == "," else "x.tsv")
    written(path, rows, delimiter=delimiter, quoting=quoting, lineterminator=end)
    assert read(path) == read(path, "--quote '\"'") == read(path, "--escape '\"'") == pairs(rows)


def test_reviews_of_several_lines_with_commas_hold_no_rows(tmp_path):
    rows = [(f"{text}\n\nActing, {n}\nPlot, bad,{n}", b) for n, (text, b) in enumerate(PLAIN)]
    rows += [(f"film {n}\nacting, fine\nplot, bad", "1") for n in range(60)]
    assert read(written(tmp_path / "x.csv", rows)) == pairs(rows)
    assert read(written(tmp_path / "y.tsv", rows, delimiter="\t")) == pairs(rows)
    lines = [f'{label},"film {n}\nbad, really"' for n, label in enumerate(LABELS)]
    (tmp_path / "z.csv").write_text("\n".join(["label,text", *lines]))  # each line of two values
    assert len(read(tmp_path / "z.csv")) == len(PLAIN)


@pytest.mark.parametrize(("name", "delimiter"), [("x.csv", ","), ("x.tsv", "\t")])
def test_quotes_that_a_backslash_escapes_are_read_as_they_were_meant(tmp_path, name, delimiter):
    rows = [*PLAIN, *HARD, ('AC\\DC, "live"', "0"), ("AC\\DC", "1")]
    path = spark(tmp_path / name, rows, delimiter)
    assert read(path) == read(path, "--escape '\\'") == pairs(rows)
    refused("x.*' can't be read: .*`escape`", path, "--escape none")


def test_another_quote_is_read_where_it_is_named(tmp_path):
    rows = [*PLAIN, ("it's, well", "0"), ('say "hi"', "1")]
    path = written(tmp_path / "x.csv", rows, quotechar="'")
    assert read(path, '--quote "\'"') == pairs(rows)
    refused("line 2 has 3 values and the header 2; .*`quote`", path)


def test_delimiters_that_are_escaped_without_quotes(tmp_path):
    path = written(tmp_path / "x.csv", PLAIN, quoting=csv.QUOTE_NONE, escapechar="\\")
    assert "\\," in path.read_text()
    assert read(path) == read(path, "--quote none --escape '\\'") == pairs(PLAIN)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('"never closed,1\n', "line 62 has a quote that nothing closes"),
        ('"closed" too early,1\n', "in line 62 has a value that goes on after"),
        ("one,two,three\n", "line 62 has 3 values and the header 2; mend that line"),
        ("   \n", "line 62 has 1 values"),
        (f"{'x' * 101},1\n", "in line 62 has a value of more than"),
    ],
)
def test_a_line_that_does_not_fit_is_named(tmp_path, monkeypatch, line, message):
    monkeypatch.setattr(delimited, "LONGEST", 100)
    path = written(tmp_path / "x.csv", [("two\nlines", "0"), *[("plain", "1")] * 58])
    path.write_text(path.read_text() + line)
    refused(message, path)


def test_a_quote_within_a_value_is_a_part_of_it(tmp_path):
    rows = [*PLAIN, ('a 5" screen', "0"), ("""it's "fine\"""", "1")]
    path = unquoted(tmp_path / "x.tsv", rows)
    path.write_text(path.read_text() + '"a tab:\t"\t1\n')
    assert read(path) == [*pairs(rows), ("a tab:\t", 1)]


def test_byte_order_marks_empty_lines_and_compression(tmp_path):
    path = written(tmp_path / "x.csv", PLAIN, encoding="utf-8-sig")
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n\n\n"))
    assert read(path) == pairs(PLAIN)
    lines = jsonl(tmp_path / "x.jsonl").read_text().replace("\n", "\r\n\n")
    (tmp_path / "x.jsonl.bz2").write_bytes(bz2.compress(f"\ufeff{lines}".encode()))
    assert read(tmp_path / "x.jsonl.bz2") == pairs(PLAIN)


def test_a_header_shows_its_white_space(tmp_path):
    (tmp_path / "x.csv").write_text("text, label\na,0\n")
    refused("has no column 'label'; it has: text, ' label'", tmp_path / "x.csv")


def test_texts_of_json_stay_texts(tmp_path):
    days = ["2024-01-01", "2024-01-02", "2024-01-01T00:00:00Z", "12:30:00", "1", "null"] * 10
    texts = [f"{day} {n}" if n > 5 else day for n, day in enumerate(days)]
    labels = [n // 6 % 2 for n in range(60)]
    path = jsonl(tmp_path / "x.jsonl", text=texts, label=labels, day=days)
    expected = list(zip(texts, labels, strict=True))
    assert read(path) == expected
    assert read(path, "--where day=2024-01-01") == expected[::6]


def test_labels_of_json_may_be_of_several_types(tmp_path):
    other = [[0, 5, "PER"], {"a": 1, "b": None}, "text", 1.5, None, {"a": "x"}] * 10
    types = (int, str, float, "{}.0".format)
    labels = [types[n // 2 % 4](label) for n, label in enumerate(LABELS)]
    assert read(jsonl(tmp_path / "x.jsonl", spans=other, label=labels)) == pairs(PLAIN)


def test_labels_of_json_may_be_truth_values_and_fields_may_come_late(tmp_path):
    lines = [{"text": text, "label": label == "1"} for text, label in PLAIN]
    lines[30:] = [line | {"site": "a"} for line in lines[30:]]
    path = tmp_path / "x.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    assert read(path, "--labels false true") == pairs(PLAIN)
    assert read(path, "--labels false true --where site=a") == pairs(PLAIN[30:])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a", "text": "b", "label": 0}', "line 61 .*two values of 'text'"),
        ('["a", 0]', "line 61 is no JSON object"),
        ("[" * 100_000, "line 61 is no JSON object"),
        ('{"text": "a", "label": {"b": 0}}', r"'label' of .* holds a list or an object \(line 61"),
        ('{"text": 7, "label": 0}', r"'text' of .* holds 7 \(line 61\); allowed: text"),
        ('{"text": "\\ud800", "label": 0}', "line 61 holds half a surrogate pair in 'text'"),
        ('{"text": "a"}', r"holds the label None \(row 60"),
    ],
)
def test_a_line_of_json_that_is_wrong_is_named(tmp_path, line, message):
    refused(message, jsonl(tmp_path / "x.jsonl", f"{line}\n"))


def test_what_is_not_asked_for_of_json_is_not_looked_at(tmp_path):
    inside = '{"text": "late", "label": 0, "meta": {"a": 1, "a": "\\ud800"}, "other": "\\ud800"}\n'
    twice = f'{{"text": "later", "label": 1, "other": 1, "other": {"9" * 5000}}}\n'
    path = jsonl(tmp_path / "x.jsonl", inside + twice)
    assert read(path) == [*pairs(PLAIN), ("late", 0), ("later", 1)]


def of_every_type(values: list[str]) -> list[pa.Array]:
    kinds = (pa.string(), pa.large_string(), pa.string_view())
    plain = [pa.array(values, kind) for kind in kinds]
    return plain + [array.dictionary_encode() for array in plain[:2]]


SITES = ["a"] * 30 + ["b"] * 30
NUMBERS = [
    pa.array(LABELS, pa.uint8()),
    pa.array(LABELS).dictionary_encode(),
    pa.array(LABELS).cast(pa.float32()),
    pa.array([Decimal(label).quantize(Decimal("1.00")) for label in LABELS]),
]
COLUMNS = [*zip(*map(of_every_type, (TEXTS, list(map(str, LABELS)), SITES)), strict=True)]
COLUMNS += [(TEXTS, labels, SITES) for labels in NUMBERS]


@pytest.mark.parametrize(("text", "label", "site"), COLUMNS)
def test_columns_of_parquet_may_be_of_every_type_of_text_or_number(tmp_path, text, label, site):
    path = parquet(tmp_path / "x.parquet", text=text, label=label, site=site)
    assert read(path) == pairs(PLAIN)
    assert read(path, "--where site=b") == pairs(PLAIN[30:])


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary_view()])
def test_bytes_are_no_texts(tmp_path, kind):
    path = parquet(tmp_path / "x.parquet", text=pa.array(TEXTS).cast(pa.binary()).cast(kind))
    refused("'text' of .* holds .*binary.*; allowed: text", path)


def test_every_row_is_accounted_for(tmp_path):
    rows = [*PLAIN, ("\u200b", "0"), ("both", "0"), ("both", "1"), PLAIN[0]]
    for name in ("a", "b"):
        lines = [(*row, f"{name}{n % 2}") for n, row in enumerate(rows)]
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label", "site"), *lines])
    read(tmp_path / "a.csv", f"--paths {tmp_path}/a.csv {tmp_path}/b.csv --limit 50")
    about = json.loads((tmp_path / "out" / "reviews.json").read_text())
    assert about["rows_by_file"] == {f"{tmp_path}/{name}.csv": len(rows) for name in ("a", "b")}
    assert (about["left_out_by_where"], about["rows"]) == (0, 2 * len(rows))
    dropped = {"empty": 2, "conflicting_labels": 4, "duplicates": 62, "near_duplicates": 0}
    assert about["dropped"] == dropped | {"beyond_limit": 10}
    read(tmp_path / "a.csv", "--where site=a0")
    about = json.loads((tmp_path / "out" / "reviews.json").read_text())
    assert (about["left_out_by_where"], about["rows"]) == (32, 32)


@pytest.mark.parametrize(("threshold", "told"), [(1, 0), (0.8, 1)])
def test_a_class_that_loses_half_is_told_with_the_key(tmp_path, caplog, threshold, told):
    many = np.random.default_rng(0).choice([f"word{n}" for n in range(99)], (30, 40))
    texts = [" ".join(words) for words in many]
    rows = [(text, n % 2) for n, text in enumerate(texts)]
    rows += [(f"{text} indeed", 1) for text in texts[1::2]]
    read(written(tmp_path / "x.csv", rows), f"--near-duplicates {threshold}")
    lost = "class 1 loses 15 of its 30 reviews as near-duplicates; raise `dataset.near_duplicates`;"
    found = [message for message in caplog.messages if "loses" in message]
    assert len(found) == told and all(message.startswith(lost) for message in found)
