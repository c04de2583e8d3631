"""What profiles/slurm asks a cluster for.

No Slurm is needed: a stand-in for its commands notes what is submitted, and refuses it or lets it
fail. `make slurm-test` runs a study on a real cluster.
"""

import re
import shlex
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import yaml
from workspace import RUN, SUMMARY, Workspace

from lib.command.console import UserError
from lib.study.engine import check_slurm

PROFILE = "profiles/slurm/config.yaml"
FLAGS = ("--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")
TOKENS = "results/tokens/dataset=imdb-25k/model={}/{}.parquet"
TRAINED = RUN.format("bert", "cls", 64, "base", 1)
NEW = RUN.format("bert", "cls", 64, "base", 2)
STAND_IN = """#!/bin/sh
case "$(basename "$0")" in
    sinfo) echo "main*" ;;
    sacctmgr) echo my-project ;;
    sbatch) printf '%s\\n' "$@" > "$(mktemp submitted.XXXXXX)"; echo $SUBMITTED; test $SUBMITTED ;;
    sacct) if [ "$DISABLED" ]; then echo "$DISABLED" >&2; exit 1; fi ;;
    scontrol)
        if [ "$SUBMITTED" ] && [ -e submitted.* ] && mkdir late; then exit 1; fi
        test "$AGE" && echo "MinJobAge               = $AGE sec" ;;
    squeue) echo "$SUBMITTED|FAILED" ;;
esac
"""
NO_ACCOUNT = {"DISABLED": "Slurm accounting storage is disabled", "AGE": "300"}  # as Slurm has it


@pytest.fixture
def project(tmp_path) -> Workspace:
    """A copy of the project beside commands of Slurm, with the inputs of some jobs."""
    workspace = Workspace(tmp_path / "project")
    workspace.environment = {"PATH": f"{tmp_path}/bin:/usr/bin:/bin", "AGE": "300"}
    (tmp_path / "bin").mkdir()
    for name in ("sinfo", "sacct", "sacctmgr", "sbatch", "scontrol", "squeue"):
        (tmp_path / "bin" / name).write_text(STAND_IN)
        (tmp_path / "bin" / name).chmod(0o755)
    splits = ("train", "valid", "test")
    for path in (
        "results/datasets/imdb-25k/reviews.json",
        *(f"results/datasets/imdb-25k/splits/{split}.parquet" for split in splits),
        *(f"results/encoders/dataset=imdb-25k/model={m}/x" for m in ("bert", "modernbert")),
        *(TOKENS.format("bert", split) for split in splits),
        *(f"{TRAINED}/checkpoint/x", f"{TRAINED}/train.json"),
    ):
        (workspace.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (workspace.folder / path).touch()
    return workspace


def submissions(project, python, device: str, *targets: str) -> dict[str, list[list[str]]]:
    """Ask for targets, and return the flags of each submission, by rule."""
    project.write_config("study.yaml", lambda config: config["training"].update(device=device))
    rules = ("--allowed-rules", "pretokenize", "train", "evaluate")
    flags = (*FLAGS, "--configfile=study.yaml", "--keep-going", *rules, "--", *targets)
    done = project.snakemake(python, *flags)
    assert done.returncode == 1
    found: dict[str, list[list[str]]] = {}
    for file in project.folder.glob("submitted.*"):
        flags = file.read_text().splitlines()
        rule = re.match(r"rule_(\w+?)_wildcards", flags[flags.index("--comment") + 1])[1]
        found.setdefault(rule, []).append(flags)
    return found


def test_the_profile_plans_the_full_study(project, python):
    jobs = project.jobs(python, "-n", *FLAGS, "--configfile=config/imdb.yaml", SUMMARY)
    assert jobs["train"] == 148 and jobs["choose"] == 1


def test_jobs_ask_for_what_the_profile_says(project, python):
    targets = (f"{NEW}/train.json", f"{TRAINED}/test.json", TOKENS.format("modernbert", "train"))
    asked = submissions(project, python, "cpu", *targets)
    tries = 1 + yaml.safe_load(project.read(PROFILE))["retries"]
    assert {rule: len(each) for rule, each in asked.items()} == dict.fromkeys(
        ("train", "evaluate", "pretokenize"), tries
    )
    for rule, minutes, memory, threads in (
        ("train", 720, 8000, 1),
        ("evaluate", 60, 8000, 1),
        ("pretokenize", 60, 4000, 4),
    ):
        flags = shlex.join(asked[rule][0])
        assert f"-p main -t {minutes} --mem {memory} --ntasks=1 --cpus-per-task={threads} " in flags
        assert "--gres" not in flags and "--gpu" not in flags


@pytest.mark.slow
def test_jobs_on_gpus_ask_for_gres_on_one_node(project, python):
    several = NEW.replace("variant=base", "variant=decayed")
    targets = (f"{NEW}/train.json", f"{several}/train.json", f"{TRAINED}/test.json")
    asked = submissions(project, python, "cuda", *targets)
    gres = {
        rule: {flag for flags in each for flag in flags if flag.startswith("--g")}
        for rule, each in asked.items()
    }
    assert gres == {"train": {"--gres=gpu:1", "--gres=gpu:2"}, "evaluate": {"--gres=gpu:1"}}


@pytest.mark.slow
def test_the_lines_that_a_site_edits_work(project, python):
    profile, edited = re.subn(r"(?m)^( *)# (\S+: \S+  # site)", r"\1\2", project.read(PROFILE))
    assert edited
    (project.folder / PROFILE).write_text(profile)
    asked = submissions(project, python, "cuda", f"{NEW}/train.json", f"{TRAINED}/test.json")
    for flags, *_ in asked.values():
        assert "-A my-project -p gpu " in shlex.join(flags) and "--gres=gpu:a100:1" in flags


def test_downloads_wait_in_no_queue_and_the_terminal_tells_how_to_see_what_does(project, python):
    project.write_config("study.yaml")
    made = "results/datasets/imdb-25k/reviews.parquet"
    done = project.snakemake(python, *FLAGS, "--configfile=study.yaml", made)
    assert done.returncode == 0, done.stderr
    assert (project.folder / made).is_file() and not list(project.folder.glob("submitted.*"))
    assert "why jobs wait: squeue --me" in done.stdout + done.stderr


def test_mistakes_in_a_config_file_end_in_one_line_as_without_a_cluster(project, python):
    (project.folder / "study.yaml").write_text("study: mine\nmodels: {a: 1\n")
    failed = project.snakemake(python, *FLAGS, "--configfile=study.yaml", "-n")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("error: config file 'study.yaml', line 3: ")


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({}, "sacct", "set slurm-status-command: squeue in the profile"),
        ({"AGE": "119"}, "squeue", "set slurm-init-seconds-before-status-checks, 40 now, to at"),
        ({}, "squeue", ""),
        ({"AGE": "120"}, "squeue", ""),
        ({"AGE": ""}, "squeue", ""),  # scontrol does not answer now, and may do so later
        ({"DISABLED": ""}, "sacct", ""),
        ({"DISABLED": "Problem talking to the database"}, "sacct", ""),
        ({"PATH": "/nowhere"}, "sacct", ""),
        ({}, None, ""),  # where there is no Slurm
    ],
)
def test_a_cluster_is_refused_where_a_study_would_wait_for_ever(
    project, monkeypatch, changed, status, message
):
    for name, value in (project.environment | NO_ACCOUNT | changed).items():
        monkeypatch.setenv(name, value)
    settings = SimpleNamespace(status_command=status, init_seconds_before_status_checks=40)
    refused = pytest.raises(UserError, match=f"^this cluster keeps no account of jobs.*{message}")
    with refused if message else nullcontext():
        check_slurm(settings)


def test_the_refusal_is_one_line_and_submits_nothing(project, python):
    project.environment |= NO_ACCOUNT
    project.write_config("study.yaml")
    done = project.snakemake(python, *FLAGS, "--configfile=study.yaml", f"{TRAINED}/test.json")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: this cluster keeps no account of jobs")
    assert not list(project.folder.glob("submitted.*"))


@pytest.mark.slow
def test_jobs_are_asked_for_again_where_the_cluster_answered_late(project, python):
    project.environment |= NO_ACCOUNT | {"SUBMITTED": "7"}
    project.write_config("study.yaml")
    flags = ("--configfile=study.yaml", "--slurm-status-command", "squeue", "--retries", "0")
    done = project.snakemake(python, *FLAGS, *flags, f"{TRAINED}/test.json")
    assert done.returncode == 1 and "Falling back to 'sacct'" in done.stderr
    assert "SLURM-job '7' failed, SLURM status is: 'FAILED'" in done.stderr
