"""Draw the learning curves of all runs: loss and accuracy by epoch, training and validation."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lib.cli import Parser, replacing, run

if TYPE_CHECKING:
    import altair as alt
    import pandas as pd

MEASURES = {"accuracy": "Accuracy", "loss": "Loss (nats)"}


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    flags.add_argument("--runs", required=True, nargs="+", type=Path, help="folders of the runs")
    flags.add_argument("--out", required=True, type=Path, help="SVG file to write")
    return flags


def main(options: argparse.Namespace) -> None:
    """Write the figure."""
    import vl_convert

    chart = draw(read_histories(options.runs))
    svg = vl_convert.vegalite_to_svg(chart.to_json())
    with replacing(options.out) as path:
        path.write_text(svg, "utf-8")


def read_histories(folders: list[Path]) -> "pd.DataFrame":
    """One row per run, epoch, split (training, validation) and measure, with its `value`.

    Values that are not finite, of runs that diverged, are left out.
    """
    import numpy as np
    import pandas as pd

    from lib.runs import KEYS, run_of

    histories = pd.concat(
        pd.read_csv(folder / "history.csv").assign(**run_of(folder)._asdict()) for folder in folders
    )
    columns = [f"{split}_{measure}" for split in ("train", "valid") for measure in MEASURES]
    long = histories.melt([*KEYS, "epoch"], columns)
    long = long[np.isfinite(long["value"])]
    long[["split", "measure"]] = long.pop("variable").str.split("_", n=1, expand=True)
    long["split"] = long["split"].map({"train": "training", "valid": "validation"})
    return long


def draw(curves: "pd.DataFrame") -> "alt.Chart":
    """Small multiples: a row per pooling, a column per model, a line per run and split."""
    import altair as alt

    curves["setting"] = curves["batch"].astype(str)
    if curves["variant"].nunique() > 1:
        curves["setting"] += " " + curves["variant"]
    settings = curves.sort_values(["batch", "variant"])["setting"].unique().tolist()
    title = "Effective batch"
    color = alt.Color("setting:N", title=title, scale=alt.Scale(domain=settings))
    shape = alt.Shape("setting:N", title=title, scale=alt.Scale(domain=settings))
    split = alt.StrokeDash(
        "split:N",
        title="Split",
        sort=["validation", "training"],
        legend=alt.Legend(symbolType="stroke", symbolStrokeColor="black", symbolSize=400),
    )
    charts = []
    for measure, label in MEASURES.items():
        values = alt.Data(values=curves[curves["measure"] == measure].to_dict("records"))
        base = alt.Chart().encode(
            x=alt.X("epoch:O", title="Epoch", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("value:Q", title=label, scale=alt.Scale(zero=False)),
            color=color,
            detail=["seed:N", "split:N"],
        )
        lines = base.mark_line().encode(strokeDash=split)
        points = base.mark_point(filled=True, size=45, opacity=1).encode(shape=shape)
        panels = alt.layer(lines, points, data=values).properties(width=230, height=120)
        charts.append(
            panels.facet(
                row=alt.Row("pooling:N", title=None, header=alt.Header(labelOrient="left")),
                column=alt.Column("model:N", title=None),
            )
        )
    return (
        alt.vconcat(*charts)
        .configure(background="white", font="Arial", padding=12)
        .configure_legend(orient="top")
    )


if __name__ == "__main__":
    run(main, arguments())
