"""Tasks, channels and barriers of a whole job in one thread: wires that deliver when chance says so, failures and restores.

Sources number the records of each split; two keyed layers remember them. Every task is a real one, with real channels, credit
and writers; only sockets, workers and the coordinator are played here. A checkpoint that completes is a whole state of the job:
positions, what each layer has seen, what was under way. From it the next world goes on, at whatever parallelism.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

from millstream.checkpoint.messages import NotifyCheckpointAborted
from millstream.core.batch import CheckpointBarrier, RecordBatch
from millstream.core.clock import ManualClock
from millstream.core.types import GENERIC, KeyEncoder, Types
from millstream.operators.base import Operator
from millstream.runtime.exchange.channels import (
    InputChannel,
    LocalOutputChannel,
    OutputChannel,
    RemoteOutputChannel,
)
from millstream.runtime.exchange.codec import BatchCodec
from millstream.runtime.exchange.in_flight import InFlightRecords
from millstream.runtime.exchange.record_writer import KeyRouter, make_record_writer
from millstream.runtime.graph.channel_state import (
    edge_name,
    may_wait_for_themselves,
    overtakable_edges,
)
from millstream.runtime.graph.execution_graph import Channel, Subtask, build_execution_graph
from millstream.runtime.graph.job_graph import ChainedOperator, JobEdge, JobGraph, JobVertex
from millstream.runtime.graph.stream_graph import Forward, Hash, JobSettings, Partitioner
from millstream.runtime.worker.channel_state import RestoredExchange, write_channel_state
from millstream.runtime.worker.input_task import InputTask, TaskInput
from millstream.runtime.worker.task import TakenSnapshot, Task, TaskEvents
from millstream.state.handles import ChannelStateHandle, FileRef
from tests.worker.chains import running

SPLITS: Final = 4
RECORDS: Final = 30
MAX_PARALLELISM: Final = 16
KEYED: Final = Hash(lambda value: value[0], Types.INT())
_CODEC: Final = BatchCodec(GENERIC)
_TURNS: Final = 20_000

Record = tuple[int, int]
"""Key, which belongs to one split, and number within the split."""


class Seen(Operator):
    """Remembers what came, in order, and passes it on; nothing may come after a watermark that promised there was no more."""

    def __init__(self) -> None:
        self.values: list[Record] = []
        self.event_time = -1

    def process_batch(self, batch: RecordBatch) -> None:
        assert batch.timestamps == [number for _, number in batch.values]
        assert min(batch.timestamps) > self.event_time, "a record came after a watermark that excluded it"
        self.values += batch.values
        self.output.emit(batch)

    def process_watermark(self, timestamp: int) -> None:
        self.event_time = timestamp
        self.output.emit_watermark(timestamp)


class SeenSpec:
    """Makes `Seen`."""

    kind = "Seen"

    def user_functions(self) -> tuple[()]:
        return ()

    def create(self) -> Operator:
        return Seen()


class Feeding(Task):
    """Reads its splits, a few records at a time, with a watermark now and then."""

    def begin(self, positions: Mapping[int, int], random: Random) -> None:
        self.positions, self._random = dict(positions), random

    def _take_input(self) -> bool:
        if self.ended:
            return False
        unfinished = [split for split, position in self.positions.items() if position < RECORDS]
        if not unfinished:
            self.chain.entry.process_watermark(RECORDS)
            self.end_input()
            return True
        split = self._random.choice(unfinished)
        first = self.positions[split]
        numbers = list(range(first, min(RECORDS, first + self._random.randint(1, 8))))
        self.positions[split] = numbers[-1] + 1
        self._process(RecordBatch([(split * 10 + n % 3, n) for n in numbers], numbers))
        if self._random.random() < 0.3:
            self.chain.entry.process_watermark(min(self.positions[split] for split in unfinished) - 1)
        return True


@dataclass
class State:
    """What a checkpoint holds; and the storage of its files."""

    positions: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(SPLITS), 0))
    seen: dict[int, list[Record]] = field(default_factory=lambda: defaultdict(list))
    handles: list[ChannelStateHandle] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)

    def read(self, ref: FileRef) -> bytes:
        return self.files[ref.path]

    def write_exclusive(self, name: str, chunks: Sequence[bytes]) -> FileRef:
        path = f"{name}-{len(self.files)}"
        assert path not in self.files
        self.files[path] = b"".join(chunks)
        return FileRef(path, len(self.files[path]), "", shared=False)

    def write_small(self, name: str, content: bytes, most: int) -> FileRef:
        return self.write_exclusive(name, [content])

    def download(self, ref: FileRef, local: Path) -> None:
        raise AssertionError(ref, local)

    def upload_shared(self, local: Path) -> FileRef:
        raise AssertionError(local)


@dataclass(frozen=True)
class Parts:
    """What a world is built of; mutants stand in for single ones."""

    task: type[InputTask] = InputTask
    received: type[InputChannel] = InputChannel
    sent: type[RemoteOutputChannel] = RemoteOutputChannel
    restored: type[RestoredExchange] = RestoredExchange


@dataclass
class _Wire:
    """Frames under way in one direction between two workers, in order."""

    deliver: Callable[[Any, Any], None]
    frames: deque[tuple[Any, Any]] = field(default_factory=deque)


@dataclass(frozen=True)
class Shape:
    """How the layers of a job are connected; the first one are the sources.

    Attributes:
        edges: from layer, to layer, how; towards higher layers.
        times: how often each layer sees each record in the end.
        ordered: layers in which each key's records come in order, at whatever parallelism.
    """

    edges: tuple[tuple[int, int, Partitioner], ...]
    times: tuple[int, ...]
    ordered: frozenset[int] = frozenset()

    @property
    def layers(self) -> int:
        return len(self.times)


LINE: Final = Shape(((0, 1, KEYED), (1, 2, KEYED)), (0, 1, 1), frozenset((1, 2)))
DIAMOND: Final = Shape(((0, 1, Forward()), (1, 2, KEYED), (1, 3, Forward()), (2, 3, Forward())), (0, 1, 1, 2))
"""One way to the last layer lets barriers overtake, the other does not: and the last layer keeps both ways in order."""


class World:
    """One attempt.

    Args:
        widths: parallelism of the sources and of the layers behind them.
        overtake_after_ms: of the barriers; None: aligned.

    Attributes:
        completed: the newest complete checkpoint, which at first is what the world begins with.
        in_flight_bytes: of all complete checkpoints.
    """

    def __init__(
        self,
        random: Random,
        state: State,
        widths: Sequence[int],
        overtake_after_ms: int | None,
        parts: Parts = Parts(),  # it cannot be changed
        shape: Shape = LINE,
    ) -> None:
        self.completed = state
        self.in_flight_bytes = 0
        self._parts = parts
        self._random, self._clock = random, ManualClock()
        self._after_ms = overtake_after_ms
        self._wires: list[_Wire] = []
        self._taken: dict[str, tuple[TakenSnapshot, list[Record], dict[int, int]]] = {}
        self._written: dict[str, tuple[list[ChannelStateHandle], dict[str, bytes]]] = {}
        self._last_id = 0
        self._pending_id: int | None = None
        self._aborted: list[int] = []
        self.graph = build_execution_graph(_job(widths, shape.edges))
        self._inputs: dict[str, list[TaskInput]] = {}
        self._outputs: dict[tuple[str, int], list[OutputChannel]] = {}
        overtakable = overtakable_edges(self.graph.job)
        self._may_wait = may_wait_for_themselves(self.graph.job)
        for channel in self.graph.channels:
            self._connect(channel, overtakable=channel.edge.index in overtakable)
        self.tasks = [self._task(subtask, overtakable) for subtask in self.graph.subtasks]
        self._restore(state)

    # ---- building

    def _connect(self, channel: Channel, *, overtakable: bool) -> None:
        id_, credit = channel.channel_id, self._random.randint(1, 3)
        output: OutputChannel
        if channel.is_local:
            received = self._parts.received(id_, _CODEC, None)
            output = LocalOutputChannel(received, credit)
        else:
            back = _Wire(lambda _, batches: remote.add_credit(batches))
            received = self._parts.received(
                id_, _CODEC, lambda _, batches: back.frames.append((None, batches))
            )
            there = _Wire(lambda kind, payload: received.put_frame(kind, memoryview(payload)))
            output = remote = self._parts.sent(
                id_, _CODEC, lambda kind, _, payload: there.frames.append((kind, payload)), credit
            )
            self._wires += (there, back)
        self._outputs.setdefault((channel.source.subtask_id, channel.edge.index), []).append(output)
        self._inputs.setdefault(channel.target.subtask_id, []).append(
            TaskInput(received, 1, overtakable, channel.edge.target in self._may_wait)
        )

    def _task(self, subtask: Subtask, overtakable: frozenset[int]) -> Task:
        writers = []
        for edge in self.graph.job.outputs_of(subtask.vertex.index):
            channels = self._outputs[subtask.subtask_id, edge.index]
            writer = make_record_writer(edge.partitioner, channels, MAX_PARALLELISM, 2)
            writer.overtakable = edge.index in overtakable
            writers.append(writer)
        chain = running(list(subtask.vertex.operators), {(0, None): writers} if writers else {})
        events = TaskEvents(
            may_snapshot=lambda _: True,
            snapshot_taken=self._on_taken,
            snapshot_refused=lambda *_: None,
            input_ended=lambda _: None,
        )
        if subtask.vertex.index == 0:
            return Feeding(subtask, chain, writers, events, self._clock, 16)
        inputs = self._inputs[subtask.subtask_id]
        return self._parts.task(subtask, chain, writers, events, self._clock, 16, inputs, exactly_once=True)

    def _restore(self, state: State) -> None:
        for task in self.tasks:
            vertex, index = task.subtask.vertex, task.subtask.index
            router = KeyRouter(KeyEncoder(Types.INT()).encode, MAX_PARALLELISM, vertex.parallelism)
            # Other splits than before, too: enumerators give them to whoever asks first.
            if isinstance(task, Feeding):
                mine = [s for s in state.positions if (s + self._last_shift()) % vertex.parallelism == index]
                task.begin({split: state.positions[split] for split in mine}, self._random)
                continue
            assert isinstance(task, InputTask)
            seen_of(task).values = [value for value in state.seen[vertex.index] if router[value[0]] == index]
            self._restore_channels(task, state)

    def _last_shift(self) -> int:
        return len(self.completed.files)

    def _restore_channels(self, task: InputTask, state: State) -> None:
        job = self.graph.job
        ids = [given.channel.channel_id for given in self._inputs[task.subtask.subtask_id]]
        for edge in job.inputs_of(task.subtask.vertex.index):
            handles = [handle for handle in state.handles if handle.edge == edge_name(job, edge)]
            if handles:
                channels = [n for n, id_ in enumerate(ids) if self.graph.channels[id_].edge is edge]
                exchange = self._parts.restored(edge, task.subtask, _CODEC, handles, channels)
                task.restore_channels(exchange.read(state))

    # ---- running

    def run(self, turns: int) -> bool:
        """So many things happen, in any order; True when the job has ended before that."""
        for _ in range(turns):
            if self._ended():
                return True
            self._turn()
        return False

    def run_quietly(self, turns: int) -> None:
        """So many things happen, and no checkpoint is among them."""
        for _ in range(turns):
            self._step_anything()

    def run_to_the_end(self) -> None:
        """Until all tasks have ended; no more checkpoints, though one may be under way. News of aborted ones has come everywhere."""
        for task in self.tasks:
            for aborted in self._aborted:
                task.notify(NotifyCheckpointAborted(aborted))
        for _ in range(_TURNS):
            if self._ended():
                return
            self._step_anything()
        raise AssertionError("the job makes no progress")

    def completes_a_checkpoint(self, turns: int) -> bool:
        """Whether one that begins now is complete after so many turns."""
        self._abort()
        self._trigger(self._after_ms)
        for _ in range(turns):
            if self._pending_id is None:
                return True
            self._step_anything()
        return False

    def _turn(self) -> None:
        dice = self._random.random()
        if dice < 0.03 and self._pending_id is None:
            # Now and then one that keeps its order, as savepoints do.
            self._trigger(None if self._random.random() < 0.15 else self._after_ms)
        elif dice < 0.035 and self._pending_id is not None:
            self._abort()
        else:
            self._step_anything()

    def _step_anything(self) -> None:
        self._clock.advance(self._random.randint(0, 1))
        busy = [wire for wire in self._wires if wire.frames]
        if busy and self._random.random() < 0.5:
            wire = self._random.choice(busy)
            wire.deliver(*wire.frames.popleft())
        else:
            task = self._random.choice(self.tasks)
            task.step()
            if self._random.random() < 0.2:
                task.flush()
        self._complete_if_possible()

    def _ended(self) -> bool:
        return all(task.ended for task in self.tasks)

    # ---- checkpoints

    def _trigger(self, after_ms: int | None) -> None:
        self._last_id += 1
        self._pending_id = self._last_id
        self._taken.clear()
        self._written.clear()
        for task in self.tasks:
            if isinstance(task, Feeding):
                task.take_snapshot(CheckpointBarrier(self._last_id, self._clock.now_ms(), after_ms))
        self._complete_if_possible()

    def _abort(self) -> None:
        """Given up; some tasks hear of it, the others find out by the next barrier."""
        aborted, self._pending_id = self._pending_id, None
        if aborted is not None:
            self._aborted.append(aborted)
            for task in self._random.sample(self.tasks, self._random.randint(0, len(self.tasks))):
                task.notify(NotifyCheckpointAborted(aborted))

    def _on_taken(self, task: Task, taken: TakenSnapshot) -> None:
        if taken.barrier.checkpoint_id == self._pending_id:
            positions = dict(task.positions) if isinstance(task, Feeding) else {}
            self._taken[task.subtask.subtask_id] = taken, list(seen_of(task).values), positions
            taken.in_flight.once_settled(lambda: self._write(task, taken.in_flight))

    def _write(self, task: Task, in_flight: InFlightRecords) -> None:
        """As in a worker: what is kept after the snapshot has settled is in no file."""
        if not in_flight.given_up:
            files = State()
            codecs = {edge.index: _CODEC for edge in self.graph.job.edges}
            written = write_channel_state(in_flight, task.subtask, self.graph, codecs, files, 0)
            handles = [handle for found in written.values() for handle in found]
            self._written[task.subtask.subtask_id] = handles, files.files

    def _complete_if_possible(self) -> None:
        if self._pending_id is None or len(self._taken) < len(self.tasks):
            return
        in_flight = [taken.in_flight for taken, *_ in self._taken.values()]
        assert not any(records.given_up for records in in_flight)
        if not all(records.settled for records in in_flight):
            return
        self.in_flight_bytes += sum(records.size_bytes for records in in_flight)
        self._pending_id, self.completed = None, self._state()

    def _state(self) -> State:
        state = State()
        for task in self.tasks:
            _, seen, positions = self._taken[task.subtask.subtask_id]
            handles, files = self._written[task.subtask.subtask_id]
            state.positions |= positions
            state.seen[task.subtask.vertex.index].extend(seen)
            state.handles += handles
            state.files |= files
        return state


def play(seed: int, parts: Parts = Parts(), shape: Shape = LINE) -> int:  # it cannot be changed
    """A job with three failures from start to end, in any mode, at one parallelism or another after each.

    Returns how many bytes were under way in its checkpoints. Raises AssertionError.
    """
    random = Random(seed)
    overtake_after_ms, rescales = (None, 0, 5)[seed % 3], seed % 2 == 0
    state, widths, in_flight_bytes = State(), _widths(random, shape), 0
    for _ in range(3):
        world = World(random, state, widths, overtake_after_ms, parts, shape)
        world.run(random.randint(50, 700))
        state = world.completed
        in_flight_bytes += world.in_flight_bytes
        widths = _widths(random, shape) if rescales else widths
    world = World(random, state, widths, overtake_after_ms, parts, shape)
    world.run(random.randint(0, 700))
    world.run_to_the_end()
    for layer in range(1, shape.layers):
        _check(seen_by(world, layer), shape.times[layer], ordered=layer in shape.ordered)
    assert overtake_after_ms is not None or in_flight_bytes == 0, "an aligned checkpoint holds records"
    return in_flight_bytes


def _widths(random: Random, shape: Shape) -> list[int]:
    if any(isinstance(partitioner, Forward) for *_, partitioner in shape.edges):
        return [random.randint(1, 3)] * shape.layers
    return [random.randint(1, 3) for _ in range(shape.layers)]


def _check(seen: list[Record], times: int, *, ordered: bool) -> None:
    by_key: dict[int, list[int]] = defaultdict(list)
    for key, number in seen if ordered else sorted(seen):
        by_key[key].append(number)
    assert by_key == {
        split * 10 + lane: [number for number in range(lane, RECORDS, 3) for _ in range(times)]
        for split in range(SPLITS)
        for lane in range(3)
    }


def seen_of(task: Task) -> Seen:
    """The operator of a task."""
    operator = task.chain.operators[0]
    assert isinstance(operator, Seen)
    return operator


def seen_by(world: World, layer: int) -> list[Record]:
    """What the subtasks of a layer have seen."""
    return [value for t in world.tasks if t.subtask.vertex.index == layer for value in seen_of(t).values]


def _job(widths: Sequence[int], connections: Sequence[tuple[int, int, Partitioner]]) -> JobGraph:
    vertices = tuple(
        JobVertex(
            f"v{index}",
            index,
            f"layer {index}",
            (ChainedOperator(f"id-{index}", f"layer {index}", None, SeenSpec(), None),),  # type: ignore[arg-type]
            width,
            MAX_PARALLELISM,
            "default",
        )
        for index, width in enumerate(widths)
    )
    edges = tuple(
        JobEdge(index, source, 0, target, partitioner, None, GENERIC)
        for index, (source, target, partitioner) in enumerate(connections)
    )
    return JobGraph(JobSettings("world"), vertices, edges)
