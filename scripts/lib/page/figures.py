"""The figures of a study, drawn from a table or two, in what it calls its texts and its metric.

Colours are those of Okabe and Ito, which the colour-blind tell apart; shapes and dashes say the
same in black and white. The background is white on light and dark pages.
"""

from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from lib.analysis.results import ALL, are_baselines, at_chosen_rates
from lib.analysis.wording import AFTER, ALIKE, ALONE, BEFORE, IDENTICAL, SHOWN, UNDECIDED
from lib.command.formats import NOT_LEARNED, capital, measures_named
from lib.files.manifests import EXPORTS
from lib.study.metrics import ACCURACY, METRICS

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
RUN = ["model", "pooling", "batch", "variant", "seed"]
SERIES = "M-1,0L-.3,0M.3,0L1,0M.3,0A.3,.3 0 1 1 -.3,0A.3,.3 0 1 1 .3,0"  # a line through a point
GREY = "#444444"  # of baselines
MATRIX_TOKENS = 32
PLACE_DIGITS = 6  # before a token, so that equal tokens differ and sort by their place
FAILED = "datum.learned < datum.seeds"  # of a condition, some run
ABOVE = -11  # pixels, of a dagger to the end of its interval
LIFT = 18  # pixels, which no mark exceeds
NOT_FROM_ZERO = alt.Scale(zero=False, nice=True)


def findings(answers: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
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
            title=f"Difference of test {METRICS[metric]} (points)",
            scale=alt.Scale(domain=[-widest, widest], nice=False),
        ),
        y=alt.Y(
            "row:N",
            title=None,
            sort=shown["row"].unique().tolist(),
            axis=alt.Axis(labelLimit=400, ticks=False, grid=False),
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


def learning_curves(curves: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """Small multiples of the table histories: a panel per measure, pooling and model."""
    curves = at_chosen_rates(curves).replace([np.inf, -np.inf], np.nan).dropna(subset="value")
    curves = curves.assign(
        series=curves["batch"].astype(str),
        split=curves["split"].map({"train": "training", "valid": "validation"}),
        last=curves["epoch"] == curves.groupby([*RUN, "measure"])["epoch"].transform("max"),
    )
    if curves["variant"].nunique() > 1:
        curves["series"] += " " + curves["variant"]
    series = curves.sort_values(["batch", "variant"])["series"].unique().tolist()
    splits = ["validation", "training"]
    legend = alt.Legend(symbolType=SERIES, symbolStrokeColor="black", symbolSize=900)
    split = {"shorthand": "split:N", "title": "Split", "legend": legend}
    dash = alt.StrokeDash(**split, scale=_scale(splits, ([1, 0], [4, 3])))
    fill = alt.Fill(**split, scale=_scale(splits, ("black", "white")))
    layers = {}
    for measure, label in MEASURES.items():
        values = curves["value"][curves["measure"] == measure]
        base = alt.Chart().encode(
            x=alt.X("epoch:O", title="Epoch", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title=label, scale=_spanning(values)),
            color=_colour("series", "Effective batch", series),
            detail=["seed:N", "split:N"],
            tooltip=_tooltip("batch", "variant", "seed", "split", "epoch", "value"),
        )
        shaped = base.encode(shape=_shape("series", "Effective batch", series))
        training, valid = (f"datum.split === '{name}'" for name in ("training", "validation"))
        layers[measure] = [
            base.mark_line().encode(strokeDash=dash),
            shaped.mark_point(size=45, opacity=1, fill="white").transform_filter(training),
            shaped.mark_point(size=45, opacity=1, filled=True).transform_filter(valid),
            base.mark_point().encode(fill=fill).transform_filter("false"),  # for the legend alone
            base.mark_point(size=130, strokeWidth=1.5)
            .encode(color=alt.value("black"))
            .transform_filter("datum.best"),
            _dagger(base, f"!datum.learned && datum.last && {valid}", dx=11),
        ]
    panels = [
        _panel(layers[measure], f"{model}, {pooling}", shown[shown["measure"] == measure], 320, 110)
        for (model, pooling), shown in curves.groupby(["model", "pooling"], sort=False)
        for measure in MEASURES
    ]
    return _side_by_side(panels, 2)


def tuning(rates: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """Validation by learning rate, a panel per model and pooling.

    From the table tuning; rings mark the chosen rates.
    """
    x = alt.X(
        "learning_rate:Q",
        title="Learning rate (logarithmic)",
        scale=alt.Scale(type="log", nice=False, padding=20),
        axis=alt.Axis(
            values=sorted(rates["learning_rate"].unique()), format="~g", labelOverlap=True
        ),
    )
    title = f"Validation {measures_named(rates['choose_by'])}"
    return _by_setting(rates, x, "value", title, "datum.chosen")


def budgets(expected: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """Expected validation by number of runs, a panel per model and pooling.

    From the table budgets.
    """
    x = alt.X("budget:O", title="Runs", axis=alt.Axis(labelAngle=0))
    title = f"Expected validation {measures_named(expected['choose_by'])}"
    return _by_setting(expected, x, "expected", title, "false")


def _by_setting(
    table: pd.DataFrame, x: alt.X, field: str, title: str, ringed: str
) -> alt.TopLevelMixin:
    """A line per tuned setting in a panel per model and pooling, with rings around some points."""
    batches, settings = table["batch"].astype(str), table["setting"].str.removesuffix(" (tuned)")
    table = table.assign(series=batches + " " + settings).replace([np.inf, -np.inf], np.nan)
    table = table.dropna(subset=field)
    series = table["series"].unique().tolist()
    base = alt.Chart().encode(
        x=x,
        y=alt.Y(f"{field}:Q", title=title, scale=_spanning(table[field])),
        color=_colour("series", "Batch and setting", series),
        tooltip=_tooltip("series", x.shorthand.partition(":")[0], field),
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(
        shape=_shape("series", "Batch and setting", series)
    )
    ring = base.mark_point(size=180, strokeWidth=1.5).encode(color=alt.value("black"))
    layers = [base.mark_line(), points, ring.transform_filter(ringed)]
    panels = [
        _panel(layers, f"{model}, {pooling}", shown, 320, 200)
        for (model, pooling), shown in table.groupby(["model", "pooling"], sort=False)
    ]
    return _side_by_side(panels, 2)


def data_curve(points: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """The metric by number of training texts, with 95% intervals.

    From the table data_curve.
    """
    if points.empty:
        return _side_by_side([], 1)
    classical = are_baselines(points)
    points = _beside(_within_bounds(points), "examples", "curve", 640).assign(classical=classical)
    encoders = points.loc[~classical, "curve"].unique().tolist()
    baselines = points.loc[classical, "curve"].unique().tolist()
    scale = _spanning(points[["low", "value", "high"]].stack())
    base = alt.Chart().encode(
        x=alt.X(
            "place:Q",
            title=f"Training {noun} (logarithmic)",
            scale=alt.Scale(type="log", nice=False, padding=30),
            axis=alt.Axis(
                values=sorted(points["examples"].unique().tolist()), format=",d", labelOverlap=True
            ),
        ),
        y=_height("value", scale, metric),
        tooltip=_tooltip("curve", "examples", "seeds", "value", "low", "high", metric=metric),
    )
    grey = base.encode(color=alt.value(GREY)).transform_filter("datum.classical")
    behind = [
        grey.mark_line(strokeWidth=1.5).encode(strokeDash=_dash("curve", baselines)),
        grey.mark_rule(strokeWidth=1).encode(y=_height("low", scale, metric), y2="high:Q"),
        grey.mark_point(filled=True, size=30, opacity=1),
    ]
    coloured = base.transform_filter("!datum.classical")
    line = coloured.mark_line().encode(color=_colour("curve", "Encoder", encoders))
    layers = [
        *(behind if baselines else []),
        line,
        *_with_intervals(coloured, "curve", "Encoder", encoders, scale, metric),
        _daggers(base, scale, metric),
    ]
    return alt.layer(*layers, data=_data(points)).properties(width=680, height=320)


def cuts(points: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """The metric with 95% intervals, and seconds, by the tokens that are seen of a text.

    From the table cuts.
    """
    if points.empty:
        return _side_by_side([], 1)
    points = _within_bounds(points).assign(classical=are_baselines(points))
    cut = points.dropna(subset="max_length")
    cut = _beside(cut.assign(line=cut["curve"] + cut["truncation"]), "max_length", "line", 250)
    whole = alt.Chart(_data(points[points["max_length"].isna()])).mark_rule(color=GREY)
    encoders = points.loc[~points["classical"], "curve"].unique().tolist()
    dash = _dash("curve", points.loc[points["classical"], "curve"].unique().tolist())
    colour = _colour("curve", "Encoder", encoders)
    scale = _spanning(points[["low", "value", "high"]].stack())
    lengths = sorted(cut["max_length"].unique().tolist())
    base = alt.Chart().encode(
        x=alt.X(
            "place:Q",
            title="Tokens of a text at most (logarithmic)",
            scale=alt.Scale(type="log", base=2, nice=False, padding=30),
            axis=alt.Axis(values=lengths, format=",d"),
        ),
        detail="line:N",
        tooltip=_tooltip(
            "curve", "truncation", "max_length", "seeds", "value", "train_seconds", metric=metric
        ),
    )
    bars = base.mark_rule(strokeWidth=2).encode(
        y=_height("low", scale, metric), y2="high:Q", color=colour
    )
    seconds = alt.Y("train_seconds:Q", title="Training (seconds, logarithmic)")
    heights = _height("value", scale, metric), seconds.scale(type="log", nice=False, padding=20)
    own = [bars.transform_filter("!datum.classical"), _daggers(base, scale, metric)]
    if len(points) > len(cut):
        own.append(whole.encode(y=heights[0], strokeDash=dash))
    shape = _shape("truncation", "Part of the text", cut["truncation"].unique().tolist())
    panels = []
    for title, height, others in zip(
        (capital(METRICS[metric]), "Seconds"), heights, (own, []), strict=True
    ):
        here = base.encode(y=height)
        grey = here.encode(color=alt.value(GREY)).transform_filter("datum.classical")
        coloured = here.encode(color=colour).transform_filter("!datum.classical")
        layers = [
            grey.mark_line(strokeWidth=1.5).encode(strokeDash=dash),
            grey.mark_point(filled=True, size=40, opacity=1).encode(shape=shape),
            coloured.mark_line(),
            coloured.mark_point(filled=True, size=80, opacity=1).encode(shape=shape),
        ]
        panels.append(_panel([*layers, *others], title, cut, 310, 280))
    return _side_by_side(panels, 2)


def batches(conditions: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """The metric by batch with 95% intervals, a panel per pooling and variant.

    From the table conditions. Baselines learn from all training texts, and stand beside encoders
    that do.
    """
    conditions = _within_bounds(at_chosen_rates(conditions))
    baselines = conditions[are_baselines(conditions)]
    encoders = conditions[~are_baselines(conditions)]
    models = encoders["model"].unique().tolist()
    scale = _spanning(conditions[["low", "value", "high"]].stack())
    base = alt.Chart().encode(
        x=alt.X(
            "batch:O",
            title=f"Effective batch ({noun})",
            axis=alt.Axis(labelAngle=0),
            scale=alt.Scale(domain=sorted(encoders["batch"].unique())),
        ),
        xOffset=alt.XOffset(
            "model:N", scale=alt.Scale(domain=models, paddingOuter=0.8), sort=models
        ),
        tooltip=_tooltip("model", "pooling", "batch", "variant", "seeds", "value", metric=metric),
    )
    layers = [
        *_with_intervals(base, "model", "Encoder", models, scale, metric),
        _daggers(base, scale, metric),
    ]
    rules = alt.Chart(_data(baselines)).mark_rule(color=GREY, strokeWidth=1.5)
    dash = _dash("model", baselines["model"].tolist())
    beside = [rules.encode(y=_height("value", scale, metric), strokeDash=dash)] * bool(
        len(baselines)
    )
    panels = []
    for (variant, pooling), shown in encoders.groupby(["variant", "pooling"], sort=False):
        title = pooling if encoders["variant"].nunique() == 1 else f"{pooling}, {variant}"
        compared = beside if (shown["examples"] == ALL).all() else []
        panels.append(_panel([*layers, *compared], title, shown, 200, 200))
    return _side_by_side(panels, 3)


def cost(conditions: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """The metric against seconds of training, with 95% intervals, from the table conditions."""
    conditions = _within_bounds(at_chosen_rates(conditions))
    models = conditions["model"].unique().tolist()
    base = alt.Chart(_data(conditions)).encode(
        x=alt.X(
            "train_seconds:Q",
            title="Training (seconds per run, logarithmic)",
            scale=alt.Scale(type="log", nice=False, padding=30),
            axis=alt.Axis(format="~r", tickCount=6),
        ),
        tooltip=_tooltip(
            "model", "pooling", "batch", "variant", "seeds", "value", "train_seconds", metric=metric
        ),
    )
    points = _with_intervals(base, "model", "Model", models, NOT_FROM_ZERO, metric)
    return alt.layer(*points, _daggers(base, NOT_FROM_ZERO, metric)).properties(
        width=680, height=300
    )


def latency(
    rows: pd.DataFrame, conditions: pd.DataFrame, metric: str, noun: str
) -> alt.TopLevelMixin:
    """The metric against the latency of single test texts, with intervals both ways.

    From the tables latency and conditions; a line joins what nothing else is better than in both.
    """
    took = rows[rows["tokens"].isna()]
    milliseconds = {"milliseconds": "median", "fast": "low", "slow": "high"}
    took = took.assign(**{name: 1000 * took[own] for name, own in milliseconds.items()})
    found = _within_bounds(took.drop(columns=["low", "high"]).merge(conditions, on=[*RUN[:-1]]))
    if found.empty:
        return _side_by_side([], 1)
    exported = found["form"].isin([*EXPORTS])
    if metric != ACCURACY:  # of which exports tell nothing
        found, exported = found[~exported], exported[~exported]
    for name in ("value", "low", "high", "top"):
        found[name] += found["accuracy_change"]
    found["name"] = found["model"].mask(exported, found["model"] + ", " + found["form"])
    base = alt.Chart(_data(found)).encode(
        x=alt.X(
            "milliseconds:Q",
            title=f"Prediction of one of the test {noun} (ms, logarithmic)",
            scale=alt.Scale(type="log", nice=False, padding=30),
            axis=alt.Axis(format="~r", tickCount=6),
        ),
        tooltip=_tooltip("name", "pooling", "variant", "value", "milliseconds", metric=metric),
    )
    names = found["name"].unique().tolist()
    value = _height("value", NOT_FROM_ZERO, metric)
    front = base.mark_line(color=GREY, strokeDash=[4, 3], strokeWidth=1).encode(y=value)
    across = base.mark_rule(strokeWidth=2).encode(
        x="fast:Q", x2="slow:Q", y=value, color=_colour("name", "Model", names)
    )
    return alt.layer(
        front.properties(data=_data(_front(found))),
        across,
        *_with_intervals(base, "name", "Model", names, NOT_FROM_ZERO, metric),
        _daggers(base, NOT_FROM_ZERO, metric),
    ).properties(width=680, height=300)


def _front(points: pd.DataFrame) -> pd.DataFrame:
    """The points that no other is quicker and better than, the quickest first."""
    order = points.sort_values(["milliseconds", "value"], ascending=[True, False])
    best = order["value"].cummax().shift(fill_value=-np.inf)
    return order[order["value"] > best]


def lengths(groups: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """Accuracy by length of the texts, with 95% intervals, from the table lengths."""
    order = groups["model"].unique()  # that of the study, as in other figures
    groups = groups[groups["representative"]].rename(columns={"accuracy": "value"})
    models = [name for name in order if name in set(groups["model"])]
    titles = {"words": "Words in the text", "truncation": "What the encoder sees of it"}
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
            tooltip=_tooltip("model", "group", "n", "value", "low", "high", metric=ACCURACY),
        )
        points = _with_intervals(base, "model", "Model", models, NOT_FROM_ZERO, ACCURACY)
        width = 480 if by == "words" else 200
        panels.append(alt.layer(*points).properties(width=width, height=260))
    return _side_by_side(panels, 2).resolve_scale(y="shared")


def reliability(bins: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """Accuracy by confidence, a panel per model, from the table reliability."""
    bins = bins[bins["representative"]]
    sizes = bins["n"].astype(float).quantile([0, 0.5, 1], interpolation="nearest").dropna().unique()
    unit = alt.Scale(domain=[0, 1])
    base = alt.Chart().encode(
        x=alt.X("confidence:Q", title="Confidence", scale=unit),
        y=alt.Y("accuracy:Q", title="Accuracy", scale=unit),
    )
    bars = base.mark_rule(color=COLOURS[0], strokeWidth=1.5)
    bars = bars.encode(y=alt.Y("low:Q", title="Accuracy"), y2="high:Q")
    sized = base.encode(
        size=alt.Size(
            "n:Q",
            title=f"{noun.capitalize()} in the bin",
            scale=alt.Scale(range=[20, 260]),
            legend=alt.Legend(values=sizes.tolist(), format=",d"),
        ),
        tooltip=_tooltip("model", "temperature", "confidence", "accuracy", "low", "high", "n"),
    )
    before, after = (f"datum.temperature === '{when}'" for when in (BEFORE, AFTER))
    hollow = sized.mark_point(color=GREY, opacity=1).transform_filter(before)
    filled = sized.mark_point(filled=True, color=COLOURS[0], opacity=1).transform_filter(after)
    ends = alt.Chart(alt.Data(values=[{"confidence": 0}, {"confidence": 1}]))
    ideal = ends.mark_line(color="#666666", strokeDash=[4, 3]).encode(
        x="confidence:Q", y="confidence:Q"
    )
    panels = [
        _panel([ideal, hollow, bars.transform_filter(after), filled], model, shown, 200, 200)
        for model, shown in bins.groupby("model", sort=False)
    ]
    return _side_by_side(panels, 3)


def acceptance(shares: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """Accuracy of the surest predictions by the share that they are, from the table acceptance."""
    order = shares["model"].unique()  # that of the study, as in other figures
    shares = shares[shares["representative"]]
    if shares.empty:
        return _side_by_side([], 1)
    wanted = shares.dropna(subset="wanted")
    wanted = wanted.assign(promised=[f"{value:.0%}" for value in wanted["wanted"]])
    models = [name for name in order if name in set(shares["model"])]
    colour, height = _colour("model", "Model", models), _spanning(shares["accuracy"])
    base = alt.Chart().encode(
        x=alt.X(
            "share:Q",
            title=f"Share of {noun} that is accepted, the surest first",
            axis=alt.Axis(format="%"),
            scale=alt.Scale(domain=[0, 1]),
        ),
        y=alt.Y("accuracy:Q", title="Accuracy of these", scale=height, axis=alt.Axis(format="%")),
        color=colour,
        tooltip=_tooltip("model", "wanted", "threshold", "share", "accuracy", "low", "high", "n"),
    )
    promised = wanted.drop_duplicates("promised")["promised"].sort_values().tolist()
    lines = base.mark_line(clip=True).properties(data=_data(shares[shares["wanted"].isna()]))
    bars = base.mark_rule(strokeWidth=2, clip=True).encode(
        y=alt.Y("low:Q", title="Accuracy of these", scale=height), y2="high:Q"
    )
    marks = base.mark_point(filled=True, size=110, opacity=1).encode(
        shape=_shape("promised", "Wanted accuracy", promised)
    )
    layers = [lines, *(each.properties(data=_data(wanted)) for each in (bars, marks))]
    return alt.layer(*layers).properties(width=480, height=300)


def tsne(places: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """Maps of the sentence vectors, a panel per model, from the table tsne."""
    columns = ["model", "id", "label_name", "prediction", "confidence", "x", "y", "wrong"]
    labels = places.sort_values("label")["label_name"].unique().tolist()
    places = places.assign(wrong=_wrong(places))[columns]
    axis = alt.Axis(labels=False, ticks=False, grid=False)
    base = alt.Chart().encode(
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
    panels = [
        _panel([points, errors], model, shown, 340, 340)
        for model, shown in places.groupby("model", sort=False)
    ]
    return _side_by_side(panels, 2)


def attention(weights: pd.DataFrame, metric: str, noun: str) -> alt.TopLevelMixin:
    """Attention between the tokens of one text, a panel per model, from the table attention.

    Of longer texts, the 32 tokens are shown that receive most attention.
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
    cells = (
        alt.Chart()
        .mark_rect()
        .encode(
            x=alt.X("attended:O", title="attended token", axis=token),
            y=alt.Y("attending:O", title="attending token", axis=token),
            color=alt.Color(
                "weight:Q",
                title="Attention",
                scale=alt.Scale(type="sqrt", domain=[0, 1], range=["white", "black"]),
                legend=alt.Legend(gradientLength=200, values=[0, 0.05, 0.2, 0.5, 1], format="~g"),
            ),
            tooltip=_tooltip("query_token", "key_token", "weight"),
        )
    )
    panels = []
    for model, table in weights.groupby("model", sort=False):
        received = table.groupby("key")["weight"].sum()
        kept = received.nlargest(MATRIX_TOKENS).index
        shown = table[table["key"].isin(kept) & table["query"].isin(kept)]
        panels.append(_panel([cells], model, shown[columns], 12 * len(kept), 12 * len(kept)))
    return _side_by_side(panels, 2)


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


def _panel(
    layers: list[alt.Chart], title: str, shown: pd.DataFrame, width: int, height: int
) -> alt.LayerChart:
    """A panel that shows some rows, with its title at the same height as those beside it.

    A title stands above all that a panel shows, so that a mark or a number at its upper edge would
    lift it: an invisible mark lifts them all.
    """
    lift = alt.Chart(alt.Data(values=[{}])).mark_point(opacity=0).encode(y=alt.value(-LIFT))
    return alt.layer(*layers, lift, data=_data(shown), width=width, height=height, title=title)


def _with_intervals(
    base: alt.Chart, field: str, title: str, names: list[str], scale: alt.Scale, metric: str
) -> list[alt.Chart]:
    """Values of a metric with their intervals, in a colour and a shape for each name of a field."""
    base = base.encode(color=_colour(field, title, names))
    bars = base.mark_rule(strokeWidth=2).encode(y=_height("low", scale, metric), y2="high:Q")
    points = base.mark_point(filled=True, size=80, opacity=1)
    shape = _shape(field, title, names)
    return [bars, points.encode(y=_height("value", scale, metric), shape=shape)]


def _daggers(base: alt.Chart, scale: alt.Scale, metric: str) -> alt.Chart:
    """Daggers above the intervals of conditions of which a run did not learn."""
    return _dagger(base.encode(y=_height("top", scale, metric)), FAILED, dy=ABOVE)


def _height(field: str, scale: alt.Scale, metric: str) -> alt.Y:
    """The metric of a test as the height of a mark."""
    return alt.Y(f"{field}:Q", title=f"Test {METRICS[metric]}", scale=scale)


def _dash(field: str, baselines: list[str]) -> alt.StrokeDash:
    """A dash for each baseline."""
    legend = alt.Legend(symbolStrokeColor=GREY, symbolSize=400)
    return alt.StrokeDash(
        f"{field}:N", title="Baseline", scale=_scale(baselines, DASHES), legend=legend
    )


def _dagger(base: alt.Chart, shown: str, **place: int) -> alt.Chart:
    """Daggers at those rows of a chart for which an expression holds."""
    text = base.mark_text(text=NOT_LEARNED, fontSize=14, **place).encode(color=alt.value("black"))
    return text.transform_filter(shown)


def _beside(points: pd.DataFrame, size: str, line: str, width: int) -> pd.DataFrame:
    """The points of lines, those of one size moved apart: the `place` of each on a log axis.

    They are 8 pixels apart in a figure of this width, and nearer where sizes are close.
    """
    sizes = np.log(np.sort(points[size].unique()).astype(float))
    lines = points[line].unique().tolist()
    span = (sizes[-1] - sizes[0]) or 1
    step = min(8 * span / width, np.diff(sizes).min(initial=span) / (2 * len(lines)))
    order = points[line].map(lines.index) - (len(lines) - 1) / 2
    return points.assign(place=points[size].astype(float) * np.exp(step * order))


def _within_bounds(table: pd.DataFrame) -> pd.DataFrame:
    """Intervals cut at 0 and 1, which those over two seeds may exceed, and the `top` of each."""
    table = table.assign(low=table["low"].clip(lower=0), high=table["high"].clip(upper=1))
    return table.assign(top=table["high"].fillna(table["value"]))


def _data(table: pd.DataFrame) -> alt.Data:
    """The rows of a table, with None for what is not finite."""
    finite = table.replace([np.inf, -np.inf], np.nan)
    return alt.Data(values=finite.astype(object).where(finite.notna(), None).to_dict("records"))


def _spanning(values: pd.Series) -> alt.Scale:
    """A scale over all values, which panels share; over 0 to 1 where there are none."""
    low, high = (float(values.min()), float(values.max())) if values.notna().any() else (0, 1)
    margin = 0.05 * (low == high)  # without which ticks have no decimals
    return alt.Scale(domain=[low - margin, high + margin], nice=True, zero=False)


def _places(places: pd.Series, tokens: pd.Series) -> list[str]:
    return [f"{place:0{PLACE_DIGITS}d}{token}" for place, token in zip(places, tokens, strict=True)]


def _colour(field: str, title: str, names: list[str]) -> alt.Color:
    return alt.Color(f"{field}:N", title=title, scale=_scale(names, COLOURS))


def _shape(field: str, title: str, names: list[str]) -> alt.Shape:
    return alt.Shape(f"{field}:N", title=title, scale=_scale(names, SHAPES))


def _scale(names: list[str], values: tuple[Any, ...]) -> alt.Scale:
    return alt.Scale(domain=names, range=[values[i % len(values)] for i in range(len(names))])


def _tooltip(*fields: str, metric: str = "") -> list[alt.Tooltip]:
    """What is told of a mark that is pointed at; the field `value` has the name of a metric."""
    titles = {"value": METRICS[metric]} if metric else {}
    numbers = {"accuracy", "low", "high", "value", "confidence", "weight"}
    numbers |= {"expected"}
    return [
        alt.Tooltip(f"{name}:Q", format=".4f", title=titles.get(name, name))
        if name in numbers
        else alt.Tooltip(f"{name}:N")
        for name in fields
    ]


def _wrong(places: pd.DataFrame) -> list[str]:
    wrong = places["label"] != places["prediction"]
    return ["labelled wrongly" if each else "" for each in wrong]
