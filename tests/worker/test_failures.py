"""What is reported when user code raises: operator, record, and the user's own line last."""

from __future__ import annotations

from operator import itemgetter
from pathlib import Path
from typing import Any

import pytest

from millstream.core.batch import RecordBatch
from millstream.core.errors import CheckpointError, CheckpointFailureReason, ConnectorError, StateError
from millstream.core.types import GENERIC
from millstream.operators.functions import KeyedProcessFunction
from millstream.operators.keyed import ReduceSpec
from millstream.operators.process import KeyedProcessSpec, ProcessSpec
from millstream.operators.stateless import FilterSpec, FlatMapSpec, MapSpec
from millstream.operators.timestamps import TimestampsSpec
from millstream.operators.watermark_strategy import WatermarkStrategy
from millstream.runtime.exchange.record_writer import make_record_writer
from millstream.runtime.graph.stream_graph import Hash
from millstream.runtime.messages import TaskFailure
from millstream.runtime.worker.failures import describe_failure
from tests.operators.windows import LIST, window
from tests.worker.chains import Writer, described, running, subtask_of

IDENTITY = MapSpec(lambda value: value)


def explode(value: Any, *_: Any) -> Any:
    if value == BAD:
        raise ValueError("no such thing")  # the user's own line
    return True


def explode_late(value: Any, *_: Any) -> Any:
    yield value
    explode(value)


BAD = ("bad", 13)
ROWS = [("a", 1), ("a", 2), BAD, ("b", 3)]


def _reported(error: Exception, descriptions: Any) -> TaskFailure:
    frame_that_caught = error.__traceback__
    assert frame_that_caught is not None
    error.__traceback__ = frame_that_caught.tb_next  # in a job that is the worker's, here the user's
    return describe_failure(error, subtask_of(descriptions))


def failure_of(specs: Any, folder: Path, *, watermark: int | None = None, writers: Any = None) -> TaskFailure:
    descriptions = described(*specs)
    if writers is None:
        writers = {(len(descriptions) - 1, None): [Writer()]}
    chain = running(descriptions, writers, folder)
    try:
        chain.entry.process_batch(RecordBatch(ROWS, [1, 2, 3, 4]))
        if watermark is not None:
            chain.entry.process_watermark(watermark)
    except Exception as error:
        return _reported(error, descriptions)
    pytest.fail("nothing was raised")


STRATEGY = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(
    lambda value, time: explode(value) and time
)
KEYED = KeyedProcessSpec(itemgetter(0), GENERIC, explode_late)
CASES = {
    "map": [IDENTITY, MapSpec(explode)],
    "filter": [FilterSpec(explode), IDENTITY],
    "flat_map": [IDENTITY, FlatMapSpec(lambda value: [explode(value)])],
    "generator flat_map": [IDENTITY, FlatMapSpec(explode_late)],
    "behind a flat_map": [FlatMapSpec(lambda value: [value]), FilterSpec(explode)],
    "timestamps": [IDENTITY, TimestampsSpec(STRATEGY)],
    "reduce": [IDENTITY, ReduceSpec(lambda value: 0, GENERIC, lambda a, b: explode(b) and b, GENERIC)],
    "key selector of a reduce": [ReduceSpec(lambda value: explode(value) and 1, GENERIC, max, GENERIC)],
    "process": [IDENTITY, ProcessSpec(explode_late)],
    "keyed process": [IDENTITY, KEYED],
    "behind a process": [ProcessSpec(lambda value, ctx: [value]), IDENTITY, MapSpec(explode)],
    "key selector of a window": [window(10, key_selector=lambda value: explode(value) and value[0])],
}
CULPRITS = {
    "filter": "Filter 0",
    "key selector of a reduce": "Reduce 0",
    "key selector of a window": "Window 0",
    "behind a process": "Map 2",
}


@pytest.mark.parametrize("case", CASES)
def test_a_users_exception_names_operator_and_record_and_ends_in_the_users_line(case, tmp_path) -> None:
    failure = failure_of(CASES[case], tmp_path)
    specs = CASES[case]
    assert failure.operator == CULPRITS.get(case, f"{specs[-1].kind} {len(specs) - 1}")
    assert failure.record == repr(BAD)
    assert failure.error == "ValueError: no such thing"
    assert failure.task_name == "the vertex (2/2)"
    assert failure.user_code
    assert failure.recoverable
    lines = failure.traceback.rstrip().splitlines()
    assert lines[-1] == "ValueError: no such thing"
    assert [line for line in lines if line.strip(" ^~")][-2].strip().startswith("raise ValueError")
    assert "millstream chain" not in failure.traceback
    assert "/operators/process.py" not in failure.traceback


@pytest.mark.parametrize(
    "spec",
    [
        MapSpec(int),
        FilterSpec(itemgetter(7)),
        FlatMapSpec(len),
        KeyedProcessSpec(itemgetter("name"), GENERIC, explode),
        window(10, key_selector=itemgetter(7)),
    ],
    ids=lambda spec: spec.kind,
)
def test_functions_without_a_line_of_their_own_are_named_as_well(spec, tmp_path) -> None:
    failure = failure_of([IDENTITY, spec], tmp_path)
    assert failure.operator == f"{spec.kind} 1"
    assert failure.record == repr(ROWS[0])
    assert failure.user_code


@pytest.mark.parametrize("select", [itemgetter(7), lambda value: explode(value) and 1], ids=["C", "Python"])
def test_a_key_selector_that_raises_ahead_of_an_exchange_names_the_record(select, tmp_path) -> None:
    writer = make_record_writer(Hash(select, GENERIC), [Writer(), Writer()], 128, 100)  # type: ignore[list-item]
    failure = failure_of([IDENTITY, MapSpec(lambda value: value)], tmp_path, writers={(1, None): [writer]})
    assert failure.operator == "Map 1"
    assert failure.record in {repr(ROWS[0]), repr(BAD)}
    assert failure.user_code


def test_a_timer_that_raises_names_its_operator(tmp_path) -> None:
    class Sets(KeyedProcessFunction):
        def process_element(self, value, ctx):
            ctx.timer_service().register_event_time_timer(10)

        def on_timer(self, timestamp, ctx):
            explode(BAD)

    failure = failure_of([IDENTITY, KeyedProcessSpec(itemgetter(0), GENERIC, Sets())], tmp_path, watermark=20)
    assert failure.operator == "KeyedProcess 1"
    assert failure.record is None
    assert failure.user_code


def test_a_window_function_that_raises_names_its_operator(tmp_path) -> None:
    spec = window(10, contents=LIST, window_function=lambda key, window, elements: explode(BAD))
    failure = failure_of([IDENTITY, spec], tmp_path, watermark=20)
    assert failure.operator == "Window 1"
    assert failure.user_code


def test_errors_of_ours_are_told_as_they_are(tmp_path) -> None:
    def ask(value, ctx):
        ctx.timer_service().register_event_time_timer(1)

    failure = failure_of([ProcessSpec(ask)], tmp_path)
    assert not failure.user_code
    assert not failure.recoverable


@pytest.mark.parametrize(
    ("error", "recoverable"),
    [
        (ConnectorError("down", retryable=True), True),
        (ConnectorError("data lost"), False),
        (StateError("wrong"), False),
        (CheckpointError(CheckpointFailureReason.INCOMPATIBLE, "another type"), False),
        (CheckpointError(CheckpointFailureReason.STORAGE, "no answer"), True),
        (CheckpointError(CheckpointFailureReason.CORRUPT, "cut short"), True),
        (RuntimeError("odd"), True),
    ],
    ids=repr,
)
def test_what_cannot_be_cured_by_a_restart_says_so(error, recoverable) -> None:
    failure = describe_failure(error, None)
    assert failure.recoverable is recoverable
    assert failure.task_name == "deployment"


def test_an_exception_that_cannot_travel_is_still_told(tmp_path) -> None:
    class Unpicklable(Exception):
        def __reduce__(self):
            raise TypeError("stay here")

    def fail(value):
        raise Unpicklable("gone")

    failure = failure_of([MapSpec(fail)], tmp_path)
    assert failure.pickled is None
    assert "gone" in failure.error


def test_a_record_is_cut_before_it_fills_the_screen(tmp_path) -> None:
    huge = "x" * 1_000_000
    descriptions = described(MapSpec(int))
    chain = running(descriptions, {(0, None): [Writer()]})
    with pytest.raises(ValueError) as raised:
        chain.entry.process_batch(RecordBatch([huge]))
    failure = describe_failure(raised.value, subtask_of(descriptions))
    assert len(failure.record or "") < 1_000
