"""`millstream dev services up`: one service in the foreground, for the other terminal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from millstream.dev.kafka import KafkaBroker, answers
from millstream.dev.server import Server

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-c", "from millstream.dev_services import app; app()", "services", "up", "kafka"]


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
def test_up_prints_the_address_to_export_and_stops_on_a_signal(
    kafka: KafkaBroker, sig: signal.Signals
) -> None:
    # Whatever provided the session's broker can provide another one.
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        variable, _, address = command.stdout.readline().removeprefix("export ").strip().partition("=")
        assert variable == "MILLSTREAM_TEST_KAFKA"
        assert answers(address, timeout_s=10)
        assert "Ctrl-C" in command.stdout.readline()
        command.send_signal(sig)
        assert command.wait(30) == 0
    assert os.environ.get(variable) == address or not answers(address, timeout_s=1)


@pytest.mark.slow  # the given broker has ten seconds to answer
def test_an_address_nobody_answers_at_is_one_clear_error() -> None:
    environment = {**os.environ, "MILLSTREAM_TEST_KAFKA": "127.0.0.1:1"}
    done = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "does not answer" in done.stdout
    assert "unset MILLSTREAM_TEST_KAFKA" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_databases_are_started_together_and_print_their_urls(
    postgresql: Server, redis_server: Server
) -> None:
    command = [*COMMAND[:-1], "postgresql", "redis"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("export MILLSTREAM_TEST_POSTGRESQL=postgresql://")
        assert running.stdout.readline().startswith("export MILLSTREAM_TEST_REDIS=redis://")
        assert "2 running" in running.stdout.readline()
        running.send_signal(signal.SIGTERM)
        assert running.wait(30) == 0
