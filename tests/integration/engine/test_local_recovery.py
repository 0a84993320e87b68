"""A worker killed with -9 comes back on its host: its state is read from there, not from the checkpoint storage."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from millstream import JobCancelledError, JobClient
from millstream.dev.s3 import s3_environment
from tests.checkpoint.s3_weather import Weather
from tests.integration.engine.harness import Workshop, wait_until
from tests.services.availability import unique_name

EVENTS = 50_000
SLOW = 2_000  # events per second, until the test has done what it wants to do to the job
pytestmark = pytest.mark.slow


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def weather(monkeypatch: pytest.MonkeyPatch) -> Iterator[Weather]:
    """A storage that notes what is asked of it."""
    weather = Weather()
    from s3fs import S3FileSystem

    for name, value in s3_environment(weather.endpoint_url).items():
        monkeypatch.setenv(name, value)
    S3FileSystem.clear_instance_cache()
    yield weather
    weather.close()


def start(workshop: Workshop, backend: str, *, backup: bool, recover: bool) -> JobClient:
    from s3fs import S3FileSystem

    bucket = unique_name("local")
    S3FileSystem().mkdir(bucket)
    return workshop.start(
        2,
        EVENTS,
        SLOW,
        state_backend_type=backend,
        execution_checkpointing_dir=f"s3://{bucket}/checkpoints",
        execution_checkpointing_local__backup_enabled=str(backup).lower(),
        execution_state__recovery_from__local=str(recover).lower(),
    )


def completed(client: JobClient) -> int:
    checkpoints = client.statistics().checkpoints
    return 0 if checkpoints is None else checkpoints.completed


def state_reads_after_a_kill(client: JobClient, weather: Weather) -> list[str]:
    """Files of checkpoints, `_metadata` apart, that are read until the killed job has taken checkpoints again."""
    before = completed(client)
    weather.requests.clear()
    os.kill(next(iter(client.worker_pids().values())), signal.SIGKILL)
    wait_until(lambda: client.statistics().restarts >= 1 and completed(client) >= before + 2, "the recovery")
    return [
        request
        for request in weather.requests
        if request.startswith("GET ") and request.rpartition("/")[2].startswith("a")
    ]


@pytest.mark.parametrize("backend", ["hashmap", "rocksdb"])
def test_nothing_is_read_from_the_storage_where_the_copies_are_whole(
    workshop: Workshop, weather: Weather, backend: str
) -> None:
    client = start(workshop, backend, backup=True, recover=True)
    wait_until(lambda: completed(client) >= 3, "three checkpoints")
    assert state_reads_after_a_kill(client, weather) == []
    copies = {path for path in workshop.tmp.glob("millstream-*/local-state/*/*") if path.is_file()}
    assert copies
    workshop.finish(client)
    workshop.check_output(EVENTS)
    assert list(workshop.tmp.iterdir()) == []


def test_without_the_option_everything_is(workshop: Workshop, weather: Weather) -> None:
    client = start(workshop, "rocksdb", backup=False, recover=False)
    wait_until(lambda: completed(client) >= 3, "three checkpoints")
    assert state_reads_after_a_kill(client, weather) != []
    assert list(workshop.tmp.glob("millstream-*/local-state/*/*")) == []
    client.cancel()
    with pytest.raises(JobCancelledError):
        client.wait(120)


def test_damaged_copies_are_told_and_read_from_the_storage(
    workshop: Workshop, weather: Weather, capfd: pytest.CaptureFixture[str]
) -> None:
    client = start(workshop, "hashmap", backup=True, recover=True)
    wait_until(lambda: completed(client) >= 3, "three checkpoints")
    for worker in client.worker_pids().values():  # so that no new copy is made before the kill
        os.kill(worker, signal.SIGSTOP)
    for copy in workshop.tmp.glob("millstream-*/local-state/*/a*"):
        content = bytearray(copy.read_bytes())
        content[len(content) // 2] ^= 1
        copy.unlink()
        copy.write_bytes(content)
    for worker in list(client.worker_pids().values())[1:]:
        os.kill(worker, signal.SIGCONT)
    assert state_reads_after_a_kill(client, weather) != []
    assert "a local copy is damaged" in capfd.readouterr().err
    workshop.finish(client)
    workshop.check_output(EVENTS)
