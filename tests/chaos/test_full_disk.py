"""A checkpoint directory that takes nothing for a while: checkpoints fail, the job goes on, and recovers by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from millstream import JobClient
from tests.chaos.disk import SmallDisk
from tests.integration.engine.harness import Workshop, wait_until
from tests.services.availability import unavailable

pytestmark = pytest.mark.chaos

EVENTS = 24_000
RATE = 2_000
FAULTS: dict[str, tuple[Callable[[SmallDisk], None], Callable[[SmallDisk], None], str]] = {
    "full": (SmallDisk.fill, SmallDisk.empty, "No space left on device"),
    "read-only": (SmallDisk.read_only, SmallDisk.writable, "Read-only file system"),
}


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(tmp_path)


@pytest.fixture
def disk(workshop: Workshop) -> Iterator[SmallDisk]:
    disk = SmallDisk(workshop.checkpoints)
    if not disk.mounted:
        unavailable("no file system can be mounted here", fix="run the tests as root")
    yield disk
    disk.unmount()


def count(client: JobClient, name: str) -> int:
    checkpoints = client.statistics().checkpoints
    return 0 if checkpoints is None else int(getattr(checkpoints, name))


@pytest.mark.parametrize(("kind", "tolerable"), [("full", "1000"), ("read-only", "0")])
def test_checkpoints_fail_with_the_reason_and_the_job_recovers(
    workshop: Workshop, disk: SmallDisk, kind: str, tolerable: str, caplog: pytest.LogCaptureFixture
) -> None:
    begin, end, reason = FAULTS[kind]
    client = workshop.start(
        2,
        EVENTS,
        RATE,
        execution_checkpointing_tolerable__failed__checkpoints=tolerable,
        restart__strategy_fixed__delay_attempts="1000",
    )
    wait_until(lambda: count(client, "completed") >= 2, "two checkpoints")
    with caplog.at_level(logging.WARNING):
        begin(disk)
        wait_until(lambda: count(client, "failed") >= 2 or client.statistics().restarts >= 3, "failures")
        assert client.statistics().status.name in {"RUNNING", "RESTARTING"}
        end(disk)
    before = count(client, "completed")
    wait_until(lambda: count(client, "completed") > before, "a checkpoint after the disk works again")
    assert reason in caplog.text
    assert (client.statistics().restarts > 0) == (tolerable == "0")
    workshop.finish(client)
    workshop.check_output(EVENTS)
    workshop.check_nothing_is_left()
