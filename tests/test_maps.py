"""Maps of sentence vectors and attention, on tiny encoders with random weights."""

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
from made_up import MadeUp, uneven
from transformers import AutoModel

from lib.analysis import attention, maps
from lib.analysis.explain import explain
from lib.command.console import UserError
from lib.data.cutting import Cut
from lib.data.encoders import load_tokenizer
from lib.training import insight
from lib.training.checkpoints import load_checkpoint, save_checkpoint
from lib.training.model import Classifier, load_encoder


@pytest.fixture(scope="module", params=["bert", "modernbert"])
def checkpoint(encoders, tmp_path_factory, request):
    folder = tmp_path_factory.mktemp("checkpoint")
    source = encoders[request.param]
    torch.manual_seed(0)
    model = Classifier(load_encoder(source, "masked-mean"), "masked-mean", 2, 0.0)
    save_checkpoint(model, source, folder, Cut(24, "auto"))
    return folder


def test_attention_is_that_of_the_last_layer_over_heads_without_special_tokens(checkpoint):
    text = "A fine film, and a song\nthat I will not forget."
    table = attention.pairs_of_tokens(insight.attention(checkpoint, text))
    tokenizer = load_tokenizer(checkpoint)
    inputs = tokenizer(text, truncation=True, max_length=24, return_tensors="pt")
    special = torch.tensor(tokenizer.get_special_tokens_mask(inputs["input_ids"][0], None, True))
    encoder = AutoModel.from_pretrained(checkpoint, attn_implementation="eager").eval()
    with torch.inference_mode():
        layers = encoder(**inputs, output_attentions=True).attentions
    assert len(layers) == 2
    inner = layers[1][0].mean(0)[special == 0][:, special == 0]
    expected = inner / inner.sum(1, keepdim=True)
    count = len(expected)
    assert len(table) == count**2 and count == int((special == 0).sum())
    weights = table["weight"].to_numpy().reshape(count, count)
    assert weights == pytest.approx(expected.numpy(), abs=1e-6)
    assert weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    tokens = table["key_token"][:count].tolist()
    assert "".join(tokens).replace("␣", "") == "".join(text.split()) and not any(
        "\n" in token for token in tokens
    )


def test_eager_attention_gives_the_same_vectors(checkpoint):
    inputs = load_tokenizer(checkpoint)(["A fine film."], return_tensors="pt")
    inputs["attention_mask"] = inputs["attention_mask"].bool()
    model = load_checkpoint(checkpoint)
    with torch.inference_mode():
        before = model.represent(inputs)
        model.attend(inputs)
        assert torch.allclose(model.represent(inputs), before, atol=1e-5)


def test_a_text_without_tokens_is_refused(checkpoint):
    with pytest.raises(UserError, match=r"the review has no tokens; set analysis\.review"):
        insight.attention(checkpoint, "")


def predictions(label, *answers):
    ids = pd.Index(range(len(label)), name="id")
    return {
        i: pd.DataFrame({"label": label, "prediction": answer}, index=ids)
        for i, answer in enumerate(answers)
    }


def test_the_shortest_review_that_models_disagree_on_is_shown():
    texts = pd.Series(["one two three", "one two", "one", "?!"])
    found = predictions([0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 1])
    assert attention.choose(texts, found, None) == 1
    assert attention.choose(texts, found, 2) == 2
    with pytest.raises(UserError, match=r"analysis\.review is 9, which is not the id of a test"):
        attention.choose(texts, found, 9)
    both_wrong = predictions([0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0])
    assert attention.choose(texts, both_wrong, None) == 0
    all_right = predictions([0, 0, 0, 0], [0, 0, 0, 0])
    assert attention.choose(texts, all_right, None) == 2


@pytest.mark.parametrize("count", [2, 3, 12, 60])
def test_maps_of_few_reviews_are_finite_and_the_same_again(count):
    vectors = np.random.default_rng(count).normal(size=(count, 8)).astype(np.float32)
    places = maps.embed(vectors, 42)
    assert places.shape == (count, 2) and np.isfinite(places).all()
    assert (places == maps.embed(vectors, 42)).all()


def test_reviews_and_places_of_a_map_depend_on_the_seed_alone(tmp_path, monkeypatch):
    study = MadeUp(tmp_path, 60)
    study.add(np.ones(60, bool), "a", "cls", 64, "base", 1)
    study.analyse()

    def vectors(checkpoint, tokens, ids):
        values = [np.random.default_rng(i).normal(size=600) for i in ids]
        return insight.Vectors(np.array(values, np.float32), {0: "0", 1: "1"})

    monkeypatch.setattr(maps, "sentence_vectors", vectors)
    found = []
    for seed in (1, 1, 2):
        explained(study, "a", attention=False, sample=20, seed=seed)
        found.append(study.read("tsne"))
    assert found[0].equals(found[1]) and set(found[0]["id"]) != set(found[2]["id"])
    ids = found[0]["id"]
    same, other = (maps.embed(vectors(None, None, ids).vectors, seed) for seed in (1, 2))
    assert (found[0][["x", "y"]] == same).all(axis=None) and not np.allclose(same, other)


def explained(study, models, attention=True, review=None, **map_of) -> None:
    """Make the tables of maps and attention of a study."""
    given = [study.tables / "runs.parquet", study.runs, study.reviews]
    tokens = [study.tokens(model) for model in models]
    which = {"tsne": True, "attention": attention, "review": review}
    explain(*given, tokens, threads=1, **which, **map_of, out=study.tables)


def test_boundaries_are_where_labels_meet():
    places = np.array([[x, 0] for x in range(40)], float)
    labels = np.array([0] * 20 + [1] * 20)
    own = maps.own_label(places, labels)
    assert own[0] == 1 and 0.25 < own[19] < 0.75
    table = pd.DataFrame({"id": range(40), "label": labels, "prediction": 0, "own_label": own})
    table = table.assign(x=0, y=0, model="m")
    errors = maps.boundary_errors(table, pd.Series([f"review {i}" for i in range(40)]))
    assert set(errors["id"]) <= set(range(20, 40)) and errors["id"].iloc[0] == 20
    assert errors["text"].iloc[0] == "review 20"


def test_a_review_is_no_neighbour_of_itself_and_the_most_mixed_come_first():
    places = np.array([[x, 0] for x in (0, 1, 2.1, 3.3)], float)
    labels = np.array([0, 0, 1, 0])
    assert maps.own_label(places, labels).tolist() == pytest.approx([2 / 3, 2 / 3, 0, 2 / 3])
    table = pd.DataFrame({"id": range(6), "label": 0, "prediction": [1, 1, 1, 0, 1, 1]})
    table["own_label"] = [0.25, 0.45, 0.7, 0.5, 0.76, 0.24]
    errors = maps.boundary_errors(table.assign(x=0, y=0), pd.Series(list("abcdef")))
    assert errors["id"].tolist() == [1, 2, 0] and errors["text"].tolist() == ["b", "c", "a"]


def test_maps_and_attention_show_the_predictions_of_the_runs_that_stand(tmp_path, monkeypatch):
    study = uneven(tmp_path)
    study.analyse()
    labels = {0: "bad", 1: "so-so", 2: "good"}
    asked = []

    def vectors(checkpoint, tokens, ids):
        asked.append((checkpoint.parts[-5:-1], tokens.parent.name))
        return insight.Vectors(np.random.default_rng(1).normal(size=(len(ids), 4)), labels)

    def looked(checkpoint, text):
        return insight.Attention(["x", "y"], np.array([[0.9, 0.1], [0.4, 0.6]]))

    monkeypatch.setattr(maps, "sentence_vectors", vectors)
    monkeypatch.setattr(attention, "attention", looked)
    explained(study, "ba", sample=60, seed=1, review=87)
    chosen = {"a": study.runs[1], "b": study.runs[4]}
    assert asked == [
        (("pooling=cls", "batch=32", "variant=base", "seed=2"), f"model={model}") for model in "ab"
    ]
    found = study.read("tsne")
    for model, folder in chosen.items():
        rows = found[found["model"] == model]
        told = pd.read_parquet(folder / "predictions.parquet", partitioning=None)
        for name in ("id", "label", "prediction", "confidence"):
            assert rows[name].tolist() == told[name].tolist()
        assert rows["label_name"].tolist() == ["bad"] * 30 + ["so-so"] * 20 + ["good"] * 10
    found = study.read("attention")
    assert found["model"].tolist() == [*"aaaabbbb"] and set(found["label"]) == {0}
    assert found["prediction"].tolist() == [2] * 8  # the last of 30 that are labelled 0
    weights = found.set_index(["model", "query_token", "key_token"])["weight"]
    assert weights["a", "x", "y"] == 0.1 and weights["b", "y", "x"] == 0.4


def test_vectors_follow_the_ids(checkpoint, tokens, tmp_path):
    model = load_checkpoint(checkpoint)
    split = tokens["bert" if model.takes_types else "modernbert"] / "test.parquet"
    table = pq.read_table(split)
    ids = np.sort(table["id"].to_numpy())
    everything = insight.sentence_vectors(checkpoint, split, ids).vectors
    pq.write_table(table.take(np.random.default_rng(0).permutation(40)), tmp_path / "t.parquet")
    for path in (split, tmp_path / "t.parquet"):
        some = insight.sentence_vectors(checkpoint, path, ids[[3, 7, 20]]).vectors
        assert some == pytest.approx(everything[[3, 7, 20]], abs=1e-5)
    whole = dict(zip(table["id"].to_pylist(), table["input_ids"].to_pylist(), strict=True))
    short, long = (next(i for i in ids if (len(whole[i]) > 24) is cut) for cut in (False, True))
    for i, seen in ((short, whole[short]), (long, [*whole[long][:23], whole[long][-1]])):
        states = model.encoder(input_ids=torch.tensor([seen])).last_hidden_state
        expected = states.mean(dim=1)[0].detach().numpy()
        assert everything[ids.tolist().index(i)] == pytest.approx(expected, abs=1e-5)


def test_without_maps_there_are_no_boundary_errors():
    empty = pd.DataFrame(columns=maps.COLUMNS)
    assert maps.boundary_errors(empty, pd.Series(["a review"])).empty
