"""Tracking may fail, and then warns once, and never stops a run."""

import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import ROOT
from workspace import files_with

KEY = "a" * 40
TRACK = """
import logging
from lib.training.tracking import Tracker

logging.basicConfig(format="%(message)s")
logging.getLogger("wandb").propagate = False
with Tracker({"model": "bert"}, {"batch": 64}, "1a2b3c4d") as tracker:
    for update in range(3):
        tracker.log(update + 1, {"loss": 0.5})
        MIDDLE
print("the run is complete")
"""


@pytest.fixture
def track(python, tmp_path):
    """Track a run in a process of its own; returns what it warned of, line by line."""

    def run(middle="", **variables):
        kept = {key: value for key, value in os.environ.items() if not key.startswith("WANDB_")}
        done = subprocess.run(
            [python, "-c", TRACK.replace("MIDDLE", middle)],
            env=kept
            | {"HOME": str(tmp_path), "WANDB_DIR": str(tmp_path), "PYTHONPATH": f"{ROOT}/scripts"}
            | variables,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.stdout == "the run is complete\n"
        return [line for line in done.stderr.splitlines() if line.startswith("tracking")]

    return run


def recorded(tmp_path):
    return len(list(tmp_path.glob("wandb/offline-run-*/run-*.wandb")))


def test_offline_is_the_default_and_needs_no_account(track, tmp_path):
    assert track() == []
    assert recorded(tmp_path) == 1


def test_disabled_leaves_nothing(track, tmp_path):
    assert track(WANDB_MODE="disabled") == []
    assert not list(tmp_path.iterdir())


def test_online_without_a_key_warns_once_and_records_offline(track, tmp_path):
    (warning,) = track(WANDB_MODE="online")
    assert "the run goes on: no API key; run `wandb login`" in warning
    assert recorded(tmp_path) == 1


class Refusing(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.send_response(401)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, *_):
        pass


@pytest.mark.parametrize(
    "server", ["none", pytest.param("refuses the key", marks=pytest.mark.slow)]
)
def test_online_without_access_warns_once_and_records_offline(track, tmp_path, server):
    http = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    address = f"http://127.0.0.1:{http.server_port}"
    if server == "none":
        http.server_close()
    else:
        threading.Thread(target=http.serve_forever, daemon=True).start()
    (warning,) = track(WANDB_MODE="online", WANDB_API_KEY=KEY, WANDB_BASE_URL=address)
    assert KEY not in warning and not files_with(KEY, tmp_path)
    assert recorded(tmp_path) == 1
    if server != "none":
        http.shutdown()
        http.server_close()


def test_a_failure_in_the_middle_warns_once(track):
    (warning,) = track(middle="tracker.run and tracker.run.finish()")
    assert "is finished" in warning
