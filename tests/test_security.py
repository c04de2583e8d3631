"""Names that would be run by a shell, encoders that bring code, and secrets where errors are."""

import json
import pickle
import re
from pathlib import Path

import pytest
from conftest import ROOT, call
from hub import ENCODER, command
from transformers import BertConfig, BertModel
from workspace import files_with

import encoder
import evaluate
import pretokenize
import train
from lib.command.console import UserError
from lib.data.encoders import load_tokenizer
from lib.training.model import load_encoder

# Flags that are quoted words already, and names that hold nothing to quote.
WORDS = {
    *("params.source", "params.division", "params.digests", "params.learned", "params.trial"),
    *("params.labels", "params.training", "params.test", "params.places", "params.study"),
    *("params.how", "params.encoder", "params.text", "params.runs", "params.baselines"),
    *("params.tuned", "params.samples", "params.published", "params.metric", "params.vectors"),
    "threads",
    *(f"wildcards.{key}" for key in ("dataset", "model", "pooling", "batch", "variant", "seed")),
    "resources.save_minutes",
}
CODE = """
from pathlib import Path
from transformers import BertConfig, BertModel, BertTokenizer

Path({ran!r}).touch()
Config, Model, Tokenizer = BertConfig, BertModel, BertTokenizer
"""


def test_every_path_in_a_command_of_a_rule_is_quoted():
    rules = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    commands = re.findall(r" +shell:\n((?: +\".*\"\n)+)", rules)
    assert len(commands) == len(re.findall(r"^ *(?:rule|checkpoint) ", rules, re.MULTILINE))
    fields = set(re.findall(r"{([^}]+)}", "".join(commands)))
    assert {field for field in fields if not field.endswith(":q")} == WORDS


class Running:
    """What makes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def offering(encoders, tmp_path) -> Path:
    """An encoder that offers code and pickles beside its safetensors, as the hub's may."""
    folder, ran = tmp_path / "offering", tmp_path / "ran"
    BertModel(BertConfig.from_pretrained(encoders["bert"])).save_pretrained(folder)
    load_tokenizer(encoders["bert"]).save_pretrained(folder)
    for name in ("pytorch_model.bin", "tokenizer.pkl", "training_args.bin"):
        (folder / name).write_bytes(pickle.dumps(Running(ran)))
    (folder / "mine.py").write_text(CODE.format(ran=str(ran)))
    change(
        folder / "config.json", auto_map={"AutoConfig": "mine.Config", "AutoModel": "mine.Model"}
    )
    change(
        folder / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["mine.Tokenizer", "mine.Tokenizer"]},
    )
    return folder


def change(path: Path, **entries: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


def test_an_encoder_that_offers_code_and_pickles_trains_without_either(
    offering, splits, tmp_path, monkeypatch
):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    call(encoder, f"folder --path {offering} --out {tmp_path}/copied")
    for folder in (offering, tmp_path / "copied"):
        tokens, run = tmp_path / f"tokens-{folder.name}", tmp_path / f"run-{folder.name}"
        call(pretokenize, f"--splits {splits} --encoder {folder} --out {tokens}")
        call(
            train,
            f"--tokens {tokens} --encoder {folder} --run {run} --dataset d --model m "
            "--pooling cls --batch 32 --seed 1 --max-length 16 --epochs 1 --device cpu",
        )
        call(evaluate, f"--tokens {tokens}/test.parquet --run {run} --device cpu")
    assert not (tmp_path / "ran").exists()
    made = [*(tmp_path / "copied").rglob("*"), *tmp_path.glob("run-*/**/*")]
    assert made and {path.suffix for path in made}.isdisjoint((".bin", ".pkl", ".pt", ".py"))
    pickle.loads((offering / "pytorch_model.bin").read_bytes())
    assert (tmp_path / "ran").exists()  # as it would have been


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"model_type": "mine"}, "config.json can't be used: code of its own .* is never run"),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "model.safetensors can't be used",
        ),
        ({"transformers_weights": "pytorch_model.bin"}, "model.safetensors can't be used"),
    ],
)
def test_an_encoder_that_needs_code_or_pickles_is_refused(offering, tmp_path, entries, message):
    change(offering / "config.json", **entries)
    with pytest.raises(UserError, match=message) as refused:
        load_encoder(offering, "cls")
    assert "\n" not in str(refused.value) and not (tmp_path / "ran").exists()


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_attention_of_the_hub_is_neither_fetched_nor_used(offering, tmp_path, key):
    change(offering / "config.json", **{key: "mine/kernel"})
    assert load_encoder(offering, "cls").config._attn_implementation == "sdpa"
    assert not (tmp_path / "ran").exists()


def test_a_tokenizer_that_needs_code_is_refused(offering, tmp_path):
    change(offering / "tokenizer_config.json", tokenizer_class="Mine")
    change(offering / "config.json", model_type="vit")  # which has no tokenizer of its own
    with pytest.raises(UserError, match=r"tokenizer_config\.json can't be used: code of its own"):
        load_tokenizer(offering)
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_an_error_of_the_hub_puts_no_secret_into_a_log(python, hub, tmp_path):
    token, line = "hf_" + "s" * 34, ENCODER.replace(" hub ", f" --log {tmp_path}/log hub ")
    address = hub.url.replace("http://", f"http://me:{token}@")
    for code in ("GatedRepo", token, ""):
        hub.faults = {"model.safetensors": (403, code)} if code else {}
        for environment in ({"HF_TOKEN": token}, {"HF_TOKEN": token, "HF_ENDPOINT": address}):
            done = command(python, hub, tmp_path, line, HF_DEBUG="1", **environment)
            assert (tmp_path / "log").is_file() and done.returncode == bool(code)
            assert token not in done.stdout + done.stderr and not files_with(token, tmp_path)
    assert f"Bearer {token}" in hub.tokens
