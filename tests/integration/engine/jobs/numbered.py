"""Five programs over unique increasing numbers, with five planned failures, and a ledger that tells what was lost, doubled or moved."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from millstream import (
    CoMapFunction,
    Configuration,
    KeyedBroadcastProcessFunction,
    KeyedProcessFunction,
    MapFunction,
    MapStateDescriptor,
    StreamExecutionEnvironment,
    ValueStateDescriptor,
    WatermarkStrategy,
)
from millstream.connectors.datagen import DataGeneratorSource
from millstream.connectors.datagen.ranges import IndexRange
from millstream.connectors.static_splits import StaticSplitEnumerator

SPLITS, LANES, NUMBERS = 8, 3, 120
KEYS = SPLITS * LANES
"""Of one source; each key brings every third number of a split, in order."""
RULES = 40
FAILURES = ("map", "snapshot", "map again", "restore", "close")
TOPOLOGIES = ("pipeline", "several inputs", "different parallelism", "union", "broadcast")
END = 10**12
_BY_NUMBER = WatermarkStrategy.for_monotonous_timestamps().with_timestamp_assigner(lambda value, _: value[1])
_RULES = MapStateDescriptor("rules", int, int)


class Numbers(DataGeneratorSource[Any]):
    """`(key, number)` from splits that are never cut, so that each key's numbers stay in order at any parallelism."""

    def __init__(self, first_key: int) -> None:
        def record(index: int) -> tuple[int, int]:
            split, number = divmod(index, NUMBERS)
            return first_key + split * LANES + number % LANES, number

        super().__init__(record, SPLITS * NUMBERS)

    def create_enumerator(self, context: Any, restored: bytes | None) -> Any:
        def find() -> list[IndexRange]:
            return [
                IndexRange(first, first + NUMBERS, first) for first in range(0, SPLITS * NUMBERS, NUMBERS)
            ]

        def share(splits: Sequence[IndexRange], readers: int) -> list[list[IndexRange]]:
            return [list(splits[reader::readers]) for reader in range(readers)]

        return StaticSplitEnumerator(
            context, restored, find=find, share=share, encode=self.encode_split, decode=self.decode_split
        )


class Plan:
    """The failures, one an attempt; each leaves a mark, so that it happens once.

    Records are slow as long as failures are to come: every input is then under backpressure.
    """

    def __init__(self, folder: Path, parallelism: int) -> None:
        self._folder, self._parallelism = folder, parallelism
        self._snapshots = self._attempt = 0
        self._next: str | None = None

    def begin(self, attempt: int) -> None:
        """A subtask opens. A failure of this very attempt, in another subtask, is the only one of the attempt."""
        self._attempt, self._snapshots = attempt, 0
        failed = failures_so_far(self._folder)
        self._next = None if attempt in failed.values() else next(iter(FAILURES[len(failed) :]), None)
        if attempt > 0:
            self.fail_in("restore")

    def record(self, number: int) -> None:
        if self._next is not None and self._next != "close":
            # The last numbers are slower still: they wait for the failures.
            time.sleep(0.001 * self._parallelism * (1 if number < NUMBERS * 0.7 else 10))
        if self._snapshots >= 2:
            self.fail_in("map")
            self.fail_in("map again")

    def snapshot(self) -> None:
        self._snapshots += 1
        if self._snapshots >= 3:
            self.fail_in("snapshot")

    def fail_in(self, place: str) -> None:
        if self._next != place:
            return
        with suppress(FileExistsError):  # another subtask was first
            (self._folder / place).symlink_to(str(self._attempt))  # appears with its content
            raise RuntimeError(f"planned: {place}")


class Slow(Plan):
    """No failure: every record takes so long (ms)."""

    def __init__(self, record_ms: float) -> None:
        self._record_s = record_ms / 1_000

    def begin(self, attempt: int) -> None:
        del attempt

    def record(self, number: int) -> None:
        del number
        time.sleep(self._record_s)

    def snapshot(self) -> None:
        """Nothing happens."""

    def fail_in(self, place: str) -> None:
        del place


def failures_so_far(folder: Path) -> dict[str, int]:
    """The attempt of each failure."""
    return {
        failure: int(str(mark.readlink())) for failure in FAILURES if (mark := folder / failure).is_symlink()
    }


class Failing(MapFunction[Any, Any]):
    """Passes records on, and fails as planned."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def initialize_state(self, context: Any) -> None:
        """Only its snapshots matter."""

    def open(self, runtime_context: Any) -> None:
        self.plan.begin(runtime_context.get_attempt_number())

    def map(self, value: Any) -> Any:
        self.plan.record(value[1])
        return value

    def snapshot_state(self, context: Any) -> None:
        self.plan.snapshot()

    def close(self) -> None:
        self.plan.fail_in("close")


class FailingSides(CoMapFunction[Any, Any, Any]):
    """The same for two inputs."""

    def __init__(self, plan: Plan) -> None:
        self.inner = Failing(plan)

    def initialize_state(self, context: Any) -> None:
        self.inner.initialize_state(context)

    def open(self, runtime_context: Any) -> None:
        self.inner.open(runtime_context)

    def map1(self, value: Any) -> Any:
        return self.inner.map(value)

    def map2(self, value: Any) -> Any:
        return self.inner.map(value)

    def snapshot_state(self, context: Any) -> None:
        self.inner.snapshot_state(context)

    def close(self) -> None:
        self.inner.close()


class Ledger(KeyedProcessFunction[int, Any, Any]):
    """At the end each key tells `(key, seen, lost, doubled, out of order)`. A late record is an error: none is."""

    def open(self, runtime_context: Any) -> None:
        self.entry = runtime_context.get_state(ValueStateDescriptor("entry", tuple[int, int, int, int]))

    def process_element(self, value: Any, ctx: Any) -> None:
        seen, top, doubled, disorder = self.entry.value() or (0, -1, 0, 0)
        number = value[1]
        bit = 1 << (number // LANES)
        self.entry.update(
            (seen | bit, max(top, number), doubled + (seen & bit != 0), disorder + (number < top))
        )
        if ctx.timestamp() <= ctx.timer_service().current_watermark():
            raise AssertionError(
                f"{value} came after the watermark {ctx.timer_service().current_watermark()}"
            )
        ctx.timer_service().register_event_time_timer(END)

    def on_timer(self, timestamp: int, ctx: Any) -> Iterator[Any]:
        seen, _, doubled, disorder = self.entry.value()
        yield ctx.get_current_key(), seen.bit_count(), NUMBERS // LANES - seen.bit_count(), doubled, disorder


class Ruled(KeyedBroadcastProcessFunction[int, Any, Any, Any]):
    """Passes records on; at the end every subtask must have seen each broadcast number once."""

    def process_element(self, value: Any, ctx: Any) -> Iterator[Any]:
        ctx.timer_service().register_event_time_timer(END)
        yield value

    def process_broadcast_element(self, value: Any, ctx: Any) -> None:
        rules = ctx.get_broadcast_state(_RULES)
        rules.put(value[1], (rules.get(value[1]) or 0) + 1)

    def on_timer(self, timestamp: int, ctx: Any) -> None:
        rules = dict(ctx.get_broadcast_state(_RULES).items())
        assert rules == dict.fromkeys(range(RULES), 1), rules


def program(configuration: Configuration, topology: str, parallelism: int, plan: Plan) -> Any:
    """The stream of the ledger's lines."""
    env = StreamExecutionEnvironment.get_execution_environment(configuration).set_parallelism(parallelism)

    def source(number: int = 0) -> Any:
        return env.from_source(Numbers(number * KEYS), _BY_NUMBER, f"numbers {number}").key_by(_key)

    failing = Failing(plan)
    if topology == "pipeline":
        stream = source().map(failing)
    elif topology == "several inputs":
        stream = source(0).connect(source(1)).map(FailingSides(plan))
    elif topology == "different parallelism":
        narrow = source().map(failing).set_parallelism(max(1, parallelism // 2))
        stream = narrow.key_by(_key).map(_same).set_parallelism(max(1, parallelism - 1))
    elif topology == "union":
        stream = source(0).union(source(1), source(2)).key_by(_key).map(failing)
    else:
        rules = env.from_source(DataGeneratorSource(_rule, RULES), _BY_NUMBER, "rules").set_parallelism(1)
        stream = source().connect(rules.broadcast(_RULES)).process(Ruled()).key_by(_key).map(failing)
    return stream.key_by(_key).process(Ledger())


def sources_of(topology: str) -> int:
    """How many sources of numbers a program has."""
    return {"several inputs": 2, "union": 3}.get(topology, 1)


def _key(value: Any) -> int:
    return int(value[0])


def _same(value: Any) -> Any:
    return value


def _rule(index: int) -> tuple[str, int]:
    return "rule", index
