"""Exactly-once inside: whatever fails, no number is lost, doubled or out of order in state, and none comes late."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from millstream import JobClient
from millstream.checkpoint.catalog import load
from millstream.connectors.files import Encoder, FileSink
from millstream.core.errors import ConfigurationError
from tests.integration.engine.harness import Workshop, wait_until
from tests.integration.engine.jobs.numbered import (
    FAILURES,
    KEYS,
    LANES,
    NUMBERS,
    TOPOLOGIES,
    Plan,
    Slow,
    failures_so_far,
    program,
    sources_of,
)

UNALIGNED = {"execution_checkpointing_unaligned_enabled": "true"}
CONCURRENT_CHECKPOINTS = {"execution_checkpointing_max__concurrent__checkpoints": "3"}
MODES: dict[str, dict[str, str]] = {
    "aligned": {},
    "unaligned": UNALIGNED,
    "several at once": CONCURRENT_CHECKPOINTS,
    "timeout": {**UNALIGNED, "execution_checkpointing_aligned__checkpoint__timeout": "30 ms"},
}
TINY_BUFFERS = {"taskmanager_batch__size": "4", "taskmanager_network_credits__per__channel": "1"}
IN_CI = [
    ("pipeline", "unaligned", 1),
    ("pipeline", "aligned", 2),
    ("several inputs", "unaligned", 2),
    ("different parallelism", "timeout", 3),
    ("union", "unaligned", 2),
    ("union", "several at once", 2),
    ("broadcast", "unaligned", 2),
]
REST = [case for case in product(TOPOLOGIES, MODES, range(1, 9)) if case not in IN_CI]


def settings(workshop: Workshop, mode: str, **changes: str) -> Any:
    return workshop.configuration(**TINY_BUFFERS, **MODES[mode], **changes)


def to_files(workshop: Workshop, stream: Any) -> None:
    stream.map(repr).sink_to(
        FileSink.for_row_format(str(workshop.out), Encoder.simple_string_encoder()).build()
    )


def check_ledger(workshop: Workshop, topology: str) -> None:
    """Lost 0, doubled 0, out of order 0, for every key."""
    keys = range(sources_of(topology) * KEYS)
    assert workshop.committed() == Counter(repr((key, NUMBERS // LANES, 0, 0, 0)) for key in keys)


def run_with_failures(workshop: Workshop, topology: str, mode: str, parallelism: int) -> None:
    stream = program(settings(workshop, mode), topology, parallelism, Plan(workshop.faults, parallelism))
    to_files(workshop, stream)
    result = stream.get_execution_environment().execute(topology)
    assert list(failures_so_far(workshop.faults)) == list(FAILURES)
    assert result.statistics.restarts == len(FAILURES)
    check_ledger(workshop, topology)
    workshop.check_nothing_is_left()


@pytest.mark.parametrize(("topology", "mode", "parallelism"), IN_CI)
def test_five_failures_leave_no_trace(workshop: Workshop, topology: str, mode: str, parallelism: int) -> None:
    run_with_failures(workshop, topology, mode, parallelism)


@pytest.mark.chaos
@pytest.mark.parametrize(("topology", "mode", "parallelism"), REST)
def test_five_failures_leave_no_trace_in_any_combination(
    workshop: Workshop, topology: str, mode: str, parallelism: int
) -> None:
    run_with_failures(workshop, topology, mode, parallelism)


def with_records_under_way(workshop: Workshop) -> Path | None:
    """The newest complete checkpoint that holds any."""
    for folder in reversed(workshop.complete()):
        states = load(str(folder)).metadata.states.values()
        if any(snapshot.channels for snapshots in states for snapshot in snapshots):
            return folder
    return None


@pytest.mark.parametrize(
    ("topology", "mode", "before", "after"),
    [
        ("pipeline", "unaligned", 2, 2),
        ("union", "unaligned", 2, 3),
        ("several inputs", "timeout", 3, 1),
        pytest.param("different parallelism", "unaligned", 1, 4, marks=pytest.mark.slow),
        pytest.param("broadcast", "unaligned", 4, 2, marks=pytest.mark.slow),
    ],
)
def test_records_under_way_go_on_at_another_parallelism(
    workshop: Workshop, topology: str, mode: str, before: int, after: int
) -> None:
    keep_all = settings(workshop, mode, execution_checkpointing_num__retained="1000")
    stream = program(keep_all, topology, before, Slow(10))
    to_files(workshop, stream)
    client: JobClient = stream.get_execution_environment().execute_async("before")
    wait_until(lambda: with_records_under_way(workshop), "a checkpoint with records under way")
    client.cancel().result(30)
    chosen = str(with_records_under_way(workshop))
    stream = program(settings(workshop, mode, execution_savepoint_path=chosen), topology, after, Slow(0))
    to_files(workshop, stream)
    stream.get_execution_environment().execute("after")
    check_ledger(workshop, topology)


def test_a_savepoint_of_a_job_with_unaligned_checkpoints_is_aligned(workshop: Workshop) -> None:
    stream = program(settings(workshop, "unaligned"), "pipeline", 2, Slow(3))
    to_files(workshop, stream)
    client: JobClient = stream.get_execution_environment().execute_async("before")
    wait_until(lambda: with_records_under_way(workshop), "a checkpoint with records under way")
    path = client.stop_with_savepoint(False, str(workshop.tmp.parent / "savepoints")).result(60)
    assert not any(snapshot.channels for found in load(path).metadata.states.values() for snapshot in found)
    changes = {"execution_savepoint_path": path}
    stream = program(settings(workshop, "unaligned", **changes), "pipeline", 3, Slow(0))
    to_files(workshop, stream)
    stream.get_execution_environment().execute("after")
    check_ledger(workshop, "pipeline")


@pytest.mark.parametrize("consistency", ["EXACTLY_ONCE", "AT_LEAST_ONCE"])
def test_several_checkpoints_are_under_way_at_once_and_complete(workshop: Workshop, consistency: str) -> None:
    quick = {"execution_checkpointing_interval": "20 ms", "execution_checkpointing_mode": consistency}
    stream = program(settings(workshop, "several at once", **quick), "pipeline", 2, Slow(10))
    to_files(workshop, stream)
    client: JobClient = stream.get_execution_environment().execute_async("several at once")

    def under_way() -> int:
        checkpoints = client.statistics().checkpoints
        assert checkpoints is not None
        assert checkpoints.failed == 0
        return len(checkpoints.pending)

    wait_until(lambda: under_way() == 3, "three checkpoints under way")
    wait_until(lambda: len(workshop.complete()) >= 3, "three complete ones")
    client.cancel().result(30)


def test_aligned_checkpoints_hold_no_records_under_way(workshop: Workshop) -> None:
    stream = program(settings(workshop, "aligned"), "pipeline", 2, Slow(10))
    to_files(workshop, stream)
    client: JobClient = stream.get_execution_environment().execute_async("aligned")
    wait_until(lambda: len(workshop.complete()) >= 3, "three checkpoints")
    client.cancel().result(30)
    assert with_records_under_way(workshop) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"execution_checkpointing_mode": "AT_LEAST_ONCE"}, "the mode is AT_LEAST_ONCE"),
        (CONCURRENT_CHECKPOINTS, "3 may be under way"),
    ],
)
def test_what_does_not_go_with_unaligned_checkpoints_is_refused(
    workshop: Workshop, changes: dict[str, str], message: str
) -> None:
    stream = program(settings(workshop, "unaligned", **changes), "pipeline", 1, Slow(0))
    to_files(workshop, stream)
    with pytest.raises(ConfigurationError, match=message):
        stream.get_execution_environment().execute("refused")
