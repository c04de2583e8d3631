"""The job of one training by other means: train, validate each epoch, keep the best, save, test."""

import argparse
from importlib import import_module
from pathlib import Path

import torch

from lib.files.whole import write_json
from lib.study.flags import add_flags, pop_settings
from loops import Setup

LOOPS = ("loop_trainer", "loop_published")


def main() -> None:
    """Run the job, and write `test.json`."""
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("loop", choices=LOOPS)
    flags.add_argument("--tokens", required=True, type=Path, help="folder of the token files")
    flags.add_argument("--encoder", required=True, type=Path, help="folder of the encoder")
    flags.add_argument("--run", required=True, type=Path, help="folder to write to")
    flags.add_argument("--batch", required=True, type=int, help="effective batch size")
    add_flags(flags, "training")
    options = flags.parse_args()
    settings = pop_settings(options, "training")
    torch.set_num_threads(settings["threads"])
    options.run.mkdir(parents=True)
    valid = options.tokens / "valid.parquet"
    setup = Setup(options.encoder, valid, options.batch, settings, options.run)
    found = import_module(options.loop).run_job(options.tokens, setup)
    write_json(options.run / "test.json", {"accuracy": found})


if __name__ == "__main__":
    main()
