"""Estimate how long a study takes, from its finished runs and from updates that are timed.

Runs of one kind train at one speed: that of finished ones on the same hardware, or else the speed
of some updates, timed in as many processes as the study has jobs at once. Runs whose train.json
and test.json are there are done; with --tuned, so are those that are trained, as the test of most
is left out. Written is a page: a row per kind of training, and the hours of the whole.
"""

import argparse
from pathlib import Path

from lib.command.cli import Parser, mapping, run, threads
from lib.study.flags import add_flags, add_shared_flags, pop_settings


def arguments() -> Parser:
    """The command line."""
    flags = Parser(description=__doc__)
    add_shared_flags(flags, "--runs")
    for name, content in (("tokens", "the tokenized splits"), ("encoders", "the encoders")):
        flags.add_argument(
            f"--{name}",
            required=True,
            nargs="+",
            type=Path,
            help=f"folders of {content}, such as model=bert",
        )
    flags.add_argument(
        "--vectors",
        nargs="*",
        default=[],
        type=Path,
        help="folders of the vectors of encoders that are not trained, there or yet to be computed",
    )
    flags.add_argument(
        "--variants",
        nargs="+",
        type=mapping,
        default=[("base", "{}")],
        metavar="NAME=JSON",
        help="training settings of each variant that differ from those below",
    )
    flags.add_argument("--cores", type=threads, default=1, help="CPU cores that the study has")
    flags.add_argument("--out", required=True, type=Path, help="the page, a Markdown file")
    add_flags(flags, "analysis", keys=("tuned",))
    add_flags(flags.add_argument_group("training"), "training")
    return flags


def main(options: argparse.Namespace) -> None:
    """Find the speed of each kind of training, and write how long the study takes."""
    settings = pop_settings(options, "training")
    from lib.training.estimate import estimate, jobs_of

    out, cores, tuned = (vars(options).pop(name) for name in ("out", "cores", "tuned"))
    estimate(jobs_of(**vars(options), settings=settings), cores, tuned, out)


if __name__ == "__main__":
    run(main, arguments())
