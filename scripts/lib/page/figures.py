"""The figures of a study, each drawn from one table.

Colours are those of Okabe and Ito, which the colour-blind tell apart; shapes and dashes say the
same in black and white. The background is white on light and dark pages.
"""

import itertools
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from lib.analysis.results import are_baselines
from lib.analysis.wording import ALIKE, ALONE, IDENTICAL, SHOWN, UNDECIDED

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
SHAPES = (  # one more than colours, so that together they tell 56 things apart
    *("circle", "square", "triangle-up", "diamond", "cross"),
    *("triangle-down", "triangle-right", "triangle-left"),
)
DASHES = ([4, 3], [1, 3], [8, 3], [8, 3, 1, 3], [12, 2], [2, 6], [12, 3, 3, 3], [6, 6])
VERDICTS = {  # colour and shape of each
    SHOWN: (COLOURS[5], "diamond"),
    ALIKE: (COLOURS[2], "square"),
    UNDECIDED: (COLOURS[0], "circle"),
    ALONE: ("#888888", "triangle-up"),
    IDENTICAL: ("#000000", "cross"),
}
MEASURES = {"accuracy": "Accuracy", "loss": "Loss (nats)"}
MATRIX_TOKENS = 32
PLACE_DIGITS = 6  # before a token, so that equal tokens differ and sort by their place
NOT_FROM_ZERO = alt.Scale(zero=False, nice=True)


def findings(answers: pd.DataFrame) -> alt.TopLevelMixin:
    """Differences with their intervals and verdicts, a row per contrast, from the table findings.

    The questions stand above their rows; the band is the margin of practical equality.
    """
    shown = answers.dropna(subset="difference")
    if shown.empty:
        return _side_by_side([], 1)
    ends = ["difference", "low", "high", "margin"]
    shown = shown.assign(
        row=shown["second"] + " − " + shown["first"],
        least=-100 * shown["margin"],
        **{name: 100 * shown[name] for name in ends},
    )
    widest = 1.05 * shown[ends].abs().max(axis=None)
    verdicts = [name for name in VERDICTS if name in set(shown["verdict"])]
    colours, shapes = (
        alt.Scale(domain=verdicts, range=[VERDICTS[name][i] for name in verdicts]) for i in (0, 1)
    )
    base = alt.Chart().encode(
        x=alt.X(
            "difference:Q",
            title="Difference of test accuracy (points)",
            scale=alt.Scale(domain=[-widest, widest], nice=False),
        ),
        y=alt.Y(
            "row:N",
            title=None,
            sort=shown["row"].unique().tolist(),
            axis=alt.Axis(labelLimit=300, ticks=False, grid=False),
        ),
        color=alt.Color("verdict:N", title="Verdict", scale=colours),
    )
    band = alt.Chart().mark_rect(color="#e3e3e3").encode(x="least:Q", x2="margin:Q")
    zero = alt.Chart().mark_rule(color="#666666", strokeDash=[4, 3]).encode(x=alt.datum(0))
    lines = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q")
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        shape=alt.Shape("verdict:N", title="Verdict", scale=shapes), tooltip=_tooltip("answer")
    )
    layers = alt.layer(band, zero, lines, points).properties(width=480, height=alt.Step(24))
    header = alt.Header(labelOrient="top", labelAnchor="start", labelFontWeight="bold", title=None)
    questions = shown["question"].unique().tolist()
    return (
        layers.properties(data=_data(shown))
        .facet(row=alt.Row("question:N", sort=questions, header=header), spacing=6)
        .resolve_scale(y="independent")
    )


def learning_curves(curves: pd.DataFrame) -> alt.TopLevelMixin:
    """Small multiples of the table histories: a panel per measure, pooling and model."""
    curves = curves.replace([np.inf, -np.inf], np.nan).dropna(subset="value")
    curves = curves.assign(
        series=curves["batch"].astype(str),
        split=curves["split"].map({"train": "training", "valid": "validation"}),
    )
    if curves["variant"].nunique() > 1:
        curves["series"] += " " + curves["variant"]
    series = curves.sort_values(["batch", "variant"])["series"].unique().tolist()
    split = alt.StrokeDash(
        "split:N",
        title="Split",
        scale=alt.Scale(domain=["validation", "training"], range=[[1, 0], [4, 3]]),
        legend=alt.Legend(symbolType="stroke", symbolStrokeColor="black", symbolSize=400),
    )
    panels = []
    combinations = curves[["model", "pooling"]].drop_duplicates().itertuples(index=False)
    for (model, pooling), (measure, label) in itertools.product(combinations, MEASURES.items()):
        measured = curves[curves["measure"] == measure]
        shown = measured[(measured["model"] == model) & (measured["pooling"] == pooling)]
        base = alt.Chart(_data(shown)).encode(
            x=alt.X("epoch:O", title="Epoch", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title=label, scale=_spanning(measured["value"])),
            color=_colour("series", "Effective batch", series),
            detail=["seed:N", "split:N"],
            tooltip=_tooltip("batch", "variant", "seed", "split", "epoch", "value"),
        )
        lines = base.mark_line().encode(strokeDash=split)
        points = base.mark_point(filled=True, size=45, opacity=1).encode(
            shape=_shape("series", "Effective batch", series)
        )
        best = base.mark_point(size=130, strokeWidth=1.5).encode(color=alt.value("black"))
        layers = lines + points + best.transform_filter("datum.best")
        panels.append(layers.properties(width=320, height=110, title=f"{model}, {pooling}"))
    return _side_by_side(panels, 2)


def accuracy(conditions: pd.DataFrame) -> alt.TopLevelMixin:
    """Test accuracy by batch with 95% intervals, a panel per pooling and variant.

    From the table conditions.
    """
    conditions = _within_bounds(conditions)
    baselines = conditions[are_baselines(conditions)]
    encoders = conditions[~are_baselines(conditions)]
    encoders = encoders.assign(note=_daggers(encoders))
    models = encoders["model"].unique().tolist()
    y = {"title": "Test accuracy", "scale": _spanning(conditions[["low", "high"]].stack())}
    height = alt.Y("accuracy:Q", **y)
    dash = alt.StrokeDash(
        "model:N",
        title="Baseline",
        scale=_scale(baselines["model"].tolist(), DASHES),
        legend=alt.Legend(symbolStrokeColor="#444444", symbolSize=400),
    )
    panels = []
    for (variant, pooling), shown in encoders.groupby(["variant", "pooling"], sort=False):
        base = alt.Chart(_data(shown)).encode(
            x=alt.X(
                "batch:O",
                title="Effective batch (reviews)",
                axis=alt.Axis(labelAngle=0),
                scale=alt.Scale(domain=sorted(encoders["batch"].unique())),
            ),
            xOffset=alt.XOffset(
                "model:N", scale=alt.Scale(domain=models, paddingOuter=0.8), sort=models
            ),
            color=_colour("model", "Encoder", models),
            tooltip=_tooltip("model", "pooling", "batch", "variant", "seeds", "accuracy"),
        )
        layers = [
            base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", **y), y2="high:Q"),
            base.mark_point(filled=True, size=80, opacity=1).encode(
                y=height, shape=_shape("model", "Encoder", models)
            ),
            base.mark_text(dx=9, fontSize=14).encode(
                y=height, text="note:N", color=alt.value("black")
            ),
        ]
        if len(baselines):
            rules = alt.Chart(_data(baselines)).mark_rule(color="#444444", strokeWidth=1.5)
            layers.append(rules.encode(y=height, strokeDash=dash))
        title = pooling if encoders["variant"].nunique() == 1 else f"{pooling}, {variant}"
        panels.append(alt.layer(*layers).properties(width=200, height=200, title=title))
    return _side_by_side(panels, 3)


def cost(conditions: pd.DataFrame) -> alt.TopLevelMixin:
    """Test accuracy against seconds of training, with 95% intervals, from the table conditions."""
    conditions = _within_bounds(conditions)
    models = conditions["model"].unique().tolist()
    base = alt.Chart(_data(conditions)).encode(
        x=alt.X(
            "train_seconds:Q",
            title="Training (seconds per run, logarithmic)",
            scale=alt.Scale(type="log", nice=False, padding=30),
            axis=alt.Axis(format="~r", tickCount=6),
        ),
        color=_colour("model", "Model", models),
        tooltip=_tooltip(
            "model", "pooling", "batch", "variant", "seeds", "accuracy", "train_seconds"
        ),
    )
    title = "Test accuracy"
    bars = base.mark_rule(strokeWidth=1).encode(
        y=alt.Y("low:Q", title=title, scale=NOT_FROM_ZERO), y2="high:Q"
    )
    points = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=alt.Y("accuracy:Q", title=title, scale=NOT_FROM_ZERO),
        shape=_shape("model", "Model", models),
    )
    return (bars + points).properties(width=680, height=300)


def lengths(groups: pd.DataFrame) -> alt.TopLevelMixin:
    """Accuracy by length of the reviews, with 95% intervals, from the table lengths."""
    groups = groups[groups["representative"]]
    models = groups["model"].unique().tolist()
    titles = {"words": "Words in the review", "truncation": "What the encoder sees of it"}
    panels = []
    for by, title in titles.items():
        shown = groups[groups["by"] == by]
        if shown.empty:
            continue
        base = alt.Chart(_data(shown)).encode(
            x=alt.X(
                "group:N",
                title=title,
                sort=shown["group"].unique().tolist(),
                axis=alt.Axis(labelAngle=0, labelLimit=120),
            ),
            xOffset=alt.XOffset("model:N", sort=models, scale=alt.Scale(paddingOuter=0.6)),
            color=_colour("model", "Model", models),
            tooltip=_tooltip("model", "group", "n", "accuracy", "low", "high"),
        )
        y = {"title": "Test accuracy", "scale": NOT_FROM_ZERO}
        bars = base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", **y), y2="high:Q")
        points = base.mark_point(filled=True, size=60, opacity=1).encode(
            y=alt.Y("accuracy:Q", **y), shape=_shape("model", "Model", models)
        )
        width = 480 if by == "words" else 200
        panels.append((bars + points).properties(width=width, height=260))
    return alt.hconcat(*panels).resolve_scale(y="shared")


def reliability(bins: pd.DataFrame) -> alt.TopLevelMixin:
    """Accuracy by confidence, a panel per model, from the table reliability."""
    bins = bins[bins["representative"]]
    unit = alt.Scale(domain=[0, 1])
    base = alt.Chart().encode(
        x=alt.X("confidence:Q", title="Confidence", scale=unit),
        y=alt.Y("accuracy:Q", title="Accuracy", scale=unit),
    )
    bars = base.mark_rule(color=COLOURS[0], strokeWidth=1.5).encode(
        y=alt.Y("low:Q", title="Accuracy"), y2="high:Q"
    )
    points = base.mark_point(filled=True, color=COLOURS[0], opacity=1).encode(
        size=alt.Size("n:Q", title="Reviews in the bin", scale=alt.Scale(range=[20, 260])),
        tooltip=_tooltip("model", "confidence", "accuracy", "low", "high", "n"),
    )
    ends = alt.Chart(alt.Data(values=[{"confidence": 0}, {"confidence": 1}]))
    ideal = ends.mark_line(color="#666666", strokeDash=[4, 3]).encode(
        x="confidence:Q", y="confidence:Q"
    )
    panels = [
        alt.layer(ideal, bars, points, data=_data(shown)).properties(
            width=200, height=200, title=model
        )
        for model, shown in bins.groupby("model", sort=False)
    ]
    return _side_by_side(panels, 3)


def tsne(places: pd.DataFrame) -> alt.TopLevelMixin:
    """Maps of the sentence vectors, a panel per model, from the table tsne."""
    columns = ["model", "id", "label_name", "prediction", "confidence", "x", "y", "wrong"]
    labels = places.sort_values("label")["label_name"].unique().tolist()
    places = places.assign(wrong=_wrong(places))[columns]
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    panels = []
    for model, shown in places.groupby("model", sort=False):
        base = alt.Chart(_data(shown)).encode(
            x=alt.X("x:Q", title="t-SNE 1 (no unit)", axis=axis),
            y=alt.Y("y:Q", title="t-SNE 2 (no unit)", axis=axis),
            tooltip=_tooltip("id", "label_name", "prediction", "confidence"),
        )
        points = base.mark_point(filled=True, size=34, opacity=0.75).encode(
            color=_colour("label_name", "Label", labels),
            shape=_shape("label_name", "Label", labels),
        )
        errors = base.mark_point(size=110, strokeWidth=1.3, opacity=0.9).encode(
            stroke=alt.Stroke(
                "wrong:N",
                title=None,
                scale=alt.Scale(domain=["labelled wrongly"], range=["black"]),
            )
        )
        errors = errors.transform_filter("datum.wrong !== ''")
        panels.append((points + errors).properties(width=340, height=340, title=model))
    return _side_by_side(panels, 2)


def attention(weights: pd.DataFrame) -> alt.TopLevelMixin:
    """Attention between the tokens of one review, a panel per model, from the table attention.

    Of longer reviews, the 32 tokens are shown that receive most attention.
    """
    weights = weights.assign(
        attending=_places(weights["query"], weights["query_token"]),
        attended=_places(weights["key"], weights["key_token"]),
    )
    columns = ["attending", "attended", "query_token", "key_token", "weight"]
    token = alt.Axis(
        labelExpr=f"slice(datum.label, {PLACE_DIGITS})",
        labelFontSize=11,
        labelOverlap=False,
        labelLimit=90,
        grid=False,
    )
    panels = []
    for model, table in weights.groupby("model", sort=False):
        received = table.groupby("key")["weight"].sum()
        kept = received.nlargest(MATRIX_TOKENS).index
        shown = table[table["key"].isin(kept) & table["query"].isin(kept)]
        cells = (
            alt.Chart(_data(shown[columns]))
            .mark_rect()
            .encode(
                x=alt.X("attended:O", title="attended token", axis=token),
                y=alt.Y("attending:O", title="attending token", axis=token),
                color=alt.Color(
                    "weight:Q",
                    title="Attention",
                    scale=alt.Scale(scheme="greys", domainMin=0),
                    legend=alt.Legend(gradientLength=120),
                ),
                tooltip=_tooltip("query_token", "key_token", "weight"),
            )
        )
        side = 12 * len(kept)
        panels.append(cells.properties(width=side, height=side, title=model))
    return _side_by_side(panels, 2).resolve_scale(color="independent")


def styled(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """A chart in the style that all figures share."""
    return (
        chart.configure(background="white", font="Arial", padding=12, aria=False)
        .configure_legend(orient="top", labelLimit=260, columns=4)
        .configure_axis(labelFontSize=12, titleFontSize=13, grid=True, gridColor="#e5e5e5")
        .configure_header(labelFontSize=13)
        .configure_title(fontSize=14, anchor="middle")
    )


def _side_by_side(panels: list[alt.Chart], columns: int) -> alt.TopLevelMixin:
    nothing = alt.Chart(alt.Data(values=[{}])).mark_text(fontSize=14, text="nothing to show")
    return alt.concat(*panels or [nothing.properties(width=340, height=60)], columns=columns)


def _within_bounds(table: pd.DataFrame) -> pd.DataFrame:
    """Intervals cut at 0 and 1, which those over two seeds may exceed."""
    return table.assign(low=table["low"].clip(lower=0), high=table["high"].clip(upper=1))


def _data(table: pd.DataFrame) -> alt.Data:
    """The rows of a table, with None for what is not finite."""
    finite = table.replace([np.inf, -np.inf], np.nan)
    return alt.Data(values=finite.astype(object).where(finite.notna(), None).to_dict("records"))


def _spanning(values: pd.Series) -> alt.Scale:
    """A scale over all values, which panels share; over 0 to 1 where there are none."""
    ends = [float(values.min()), float(values.max())] if values.notna().any() else [0, 1]
    return alt.Scale(domain=ends, nice=True, zero=False)


def _places(places: pd.Series, tokens: pd.Series) -> list[str]:
    return [f"{place:0{PLACE_DIGITS}d}{token}" for place, token in zip(places, tokens, strict=True)]


def _colour(field: str, title: str, names: list[str]) -> alt.Color:
    return alt.Color(f"{field}:N", title=title, scale=_scale(names, COLOURS))


def _shape(field: str, title: str, names: list[str]) -> alt.Shape:
    return alt.Shape(f"{field}:N", title=title, scale=_scale(names, SHAPES))


def _scale(names: list[str], values: tuple[Any, ...]) -> alt.Scale:
    return alt.Scale(domain=names, range=[values[i % len(values)] for i in range(len(names))])


def _tooltip(*fields: str) -> list[alt.Tooltip]:
    numbers = {"accuracy", "low", "high", "value", "confidence", "weight"}
    return [
        alt.Tooltip(f"{name}:Q", format=".4f") if name in numbers else alt.Tooltip(f"{name}:N")
        for name in fields
    ]


def _daggers(conditions: pd.DataFrame) -> list[str]:
    failed = conditions["learned"] < conditions["seeds"]
    return ["†" if each else "" for each in failed]


def _wrong(places: pd.DataFrame) -> list[str]:
    wrong = places["label"] != places["prediction"]
    return ["labelled wrongly" if each else "" for each in wrong]
