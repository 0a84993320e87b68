"""Random programs with loops, run by the real tasks in random order, checkpointed, killed and restored: one seed, one history.

Records carry a time to live that each way back lowers, so what comes out is the same whatever the order of events. The world
checks that it does come out, once; that everything ends by itself; and that nothing comes back after a loop's end.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from dataclasses import dataclass
from typing import Any, ClassVar

from millstream.checkpoint.assignment import assign_state
from millstream.core.batch import MAX_TIMESTAMP, CheckpointBarrier, EndOfInput, RecordBatch, Watermark
from millstream.core.clock import ManualClock
from millstream.core.types import GENERIC
from millstream.operators.base import (
    BufferingOperator,
    Operator,
    OperatorContext,
    OperatorSnapshotParts,
    RuntimeInfo,
)
from millstream.operators.iteration import IterationHeadSpec, IterationTailSpec
from millstream.operators.stateless import FlatMapSpec
from millstream.runtime.exchange.channels import InputChannel, LocalOutputChannel
from millstream.runtime.exchange.codec import BatchCodec
from millstream.runtime.exchange.record_writer import make_record_writer
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.graph.execution_graph import build_execution_graph
from millstream.runtime.graph.stream_graph import Broadcast, ChainingStrategy, Hash, Rebalance
from millstream.runtime.worker.chain import build_chain
from millstream.runtime.worker.input_task import TaskInput
from millstream.runtime.worker.iteration_tasks import IterationHeadTask, IterationTailTask, task_type
from millstream.runtime.worker.quiescence import LoopHead, ProbeAligner
from millstream.runtime.worker.task import TaskEvents
from millstream.state.handles import OperatorSnapshot
from tests.graph.graphs import Program

_SERIALIZER = GENERIC.serializer()
_MAX_STEPS = 60_000


class Violation(AssertionError):
    """The world saw something that must not be."""


# ---- operators


@dataclass(frozen=True)
class Spec:
    """Makes an operator of this world."""

    made: Any
    kind: ClassVar[str] = "Simulated"

    def user_functions(self):
        return ()

    def create(self):
        return self.made()


class Keeping(Operator):
    """A sink whose content is its state."""

    def open(self, context):
        super().open(context)
        self.kept = [_SERIALIZER.loads(item) for item in context.restored_lists.get("kept", ())]

    def process_batch(self, batch):
        self.kept += batch.values

    def process_watermark(self, timestamp):
        pass

    def snapshot(self, checkpoint_id):
        return OperatorSnapshotParts(lists={"kept": [_SERIALIZER.dumps(value) for value in self.kept]})


class Dawdling(BufferingOperator):
    """Keeps batches for a while, as asynchronous I/O does."""

    def open(self, context):
        super().open(context)
        self.held = deque(
            RecordBatch([_SERIALIZER.loads(item)]) for item in context.restored_lists.get("held", ())
        )

    @property
    def has_room(self):
        return len(self.held) < 3

    @property
    def is_drained(self):
        return not self.held

    def process_batch(self, batch):
        self.held.append(batch)

    def process_watermark(self, timestamp):
        self.held.append(timestamp)
        while self.held and isinstance(self.held[0], int):
            self.output.emit_watermark(self.held.popleft())

    def release(self):
        if not self.held:
            return False
        self.output.emit(self.held.popleft())
        while self.held and isinstance(self.held[0], int):
            self.output.emit_watermark(self.held.popleft())
        return True

    def snapshot(self, checkpoint_id):
        values = [value for batch in self.held if isinstance(batch, RecordBatch) for value in batch.values]
        return OperatorSnapshotParts(lists={"held": [_SERIALIZER.dumps(value) for value in values]})


class FiringAtTheEnd(Operator):
    """Has one timer for the end of time."""

    def open(self, context):
        super().open(context)
        self.subtask = context.info.subtask
        self.fired = bool(context.restored_lists.get("fired"))

    def process_watermark(self, timestamp):
        if timestamp == MAX_TIMESTAMP and not self.fired:
            self.fired = True
            self.output.emit(RecordBatch([("timer", self.subtask, 4)]))
        self.output.emit_watermark(timestamp)

    def snapshot(self, checkpoint_id):
        return OperatorSnapshotParts(lists={"fired": [b"yes"] if self.fired else []})


def one_less(value):
    name, number, left = value
    return [(name, number, left - 1)] if left > 1 else []


def whole(value):
    return value


PARTITIONERS = (None, None, Rebalance(), Hash(whole, GENERIC))


def random_program(rng: random.Random) -> Program:
    """One to three loops: one in another, behind another, or through a common body."""
    program = Program(parallelism=rng.randint(1, 3), chaining_enabled=rng.random() < 0.5)
    nodes = [program.source(parallelism=1)]
    count = rng.randint(1, 3)
    thin = rng.random() < 0.4  # few copies of each record, but they go round more often
    program.rounds = 7 if thin and count < 3 else 2
    broadcast = rng.random() < 0.2 and count == 1 and not thin  # otherwise there would be too many records
    partitioners = (*PARTITIONERS, Broadcast()) if broadcast else PARTITIONERS
    open_heads: list[int] = []

    def add(inputs, operator, partitioner=None, **changes):
        nodes.append(program.map(*inputs, operator=operator, partitioner=partitioner, **changes))
        return nodes[-1]

    def close(head):
        behind = [n for n in nodes if head in program.builder.upstream_of([n])]
        feedback = rng.sample(behind, min(len(behind), 1 if thin else rng.choice((1, 1, 2))))
        back = program.map(*feedback, operator=FlatMapSpec(one_less), name="less")
        program.map(
            back,
            operator=IterationTailSpec(),
            partitioner=rng.choice(partitioners),
            feeds=head,
            chaining=NEVER,
        )

    for _ in range(count):
        inputs = rng.sample(nodes, min(len(nodes), 1 if thin else rng.choice((1, 1, 2))))
        open_heads.append(add(inputs, IterationHeadSpec(GENERIC), chaining=NEVER))
        for _ in range(rng.randint(1, 2)):
            made = rng.choice((Dawdling, FiringAtTheEnd, Operator))
            heading = ChainingStrategy.HEAD if made is Dawdling else ChainingStrategy.ALWAYS
            newest = [nodes[-1], *rng.sample(nodes, 0 if thin else rng.choice((0, 0, 1)))]
            add(dict.fromkeys(newest), Spec(made), rng.choice(partitioners), chaining=heading)
        if rng.random() < 0.5:
            close(open_heads.pop(rng.randrange(len(open_heads))))
    while open_heads:
        close(open_heads.pop(rng.randrange(len(open_heads))))
    program.map(*nodes[-2:], operator=Spec(Keeping), name="kept")
    return program


NEVER = ChainingStrategy.NEVER


# ---- the world


class Reader:
    """A source: a few batches, MAX, the end; and barriers for ever."""

    def __init__(self, writers, position, rounds):
        self.writers = writers
        self.position = position
        self.rounds = rounds
        self.ended = False

    def step(self):
        if self.ended or not all(writer.has_room for writer in self.writers):
            return False
        if self.position < 4:
            for writer in self.writers:
                writer.emit(RecordBatch([("r", 2 * self.position + n, self.rounds + n) for n in range(2)]))
                writer.flush()
            self.position += 1
        else:
            self.ended = True
            for writer in self.writers:
                writer.broadcast(Watermark(MAX_TIMESTAMP))
                writer.broadcast(EndOfInput())
        return True


class World:
    """A history of one program. `head_type` and `aligner_type` may be broken ones."""

    def __init__(
        self, seed: int, *, kills: int = 0, order: int = 0, head_type=LoopHead, aligner_type=ProbeAligner
    ):
        program = random_program(random.Random(seed))
        self._rounds = program.rounds
        self._graph = build_execution_graph(compile_job(program.build()))
        self._rng = random.Random(f"{seed} {order}")
        self._kills = kills
        self._head_type = head_type
        self._aligner_type = aligner_type
        self._complete: tuple[dict[str, dict[str, OperatorSnapshot]], dict[str, int]] = ({}, {})
        self._checkpoint_id = 0
        self.checkpoints = self.restores = self.records_in_checkpoints = 0
        self._deploy()

    def run(self) -> Counter:
        """Everything that was kept in the end."""
        for _ in range(_MAX_STEPS):
            chance = self._rng.random()
            if chance < 0.002 and self._kills:
                self._kills -= 1
                self.restores += 1
                self._deploy()
            elif chance < 0.01 and self._kills and self._pending is None:
                self._trigger()
            elif chance < 0.2 and self._dawdlers:
                self._rng.choice(self._dawdlers).release()
            elif not self._step_any():
                if self._pending is None and all(task.ended for task in self._tasks):
                    return Counter(value for sink in self._sinks for value in sink.kept)
                self._end_of_idleness()
        raise Violation("it does not end")

    def _step_any(self) -> bool:
        return (
            any(actor.step() for actor in self._rng.sample(self._steppable, len(self._steppable)))
            or self._flush()
        )

    def _flush(self) -> bool:
        """What tasks do that have nothing else to do."""
        for task in self._tasks:
            task.flush()
        return any(map(len, (c._queue for channels in self._inputs.values() for c in channels)))

    def _end_of_idleness(self) -> None:
        if not any(dawdler.release() for dawdler in self._dawdlers):
            raise Violation(f"stuck: {[t.subtask.display_name for t in self._tasks if not t.ended]}")

    # ---- checkpoints

    def _trigger(self) -> None:
        self._checkpoint_id += 1
        positions = {id_: reader.position for id_, reader in self._readers.items()}
        self._pending = ({}, positions)
        for reader in self._readers.values():
            for writer in reader.writers:
                writer.broadcast(CheckpointBarrier(self._checkpoint_id, 0))

    def _on_snapshot(self, task, taken) -> None:
        assert self._pending is not None
        parts = {id_: OperatorSnapshot(lists=part.lists) for id_, part in taken.parts.items()}
        self._pending[0][str(task.subtask.subtask_id)] = parts
        if len(self._pending[0]) == len(self._tasks):
            self._complete, self._pending = self._pending, None
            self.checkpoints += 1
            snapshots = (s for parts in self._complete[0].values() for s in parts.values())
            self.records_in_checkpoints += sum(len(s.lists.get("feedback", ())) for s in snapshots)

    # ---- attempts

    def _deploy(self) -> None:
        self._pending: Any = None
        self._inputs, self._outputs = defaultdict(list), defaultdict(list)
        for channel in self._graph.channels:
            received = InputChannel(channel.channel_id, BatchCodec(GENERIC), None)
            self._inputs[channel.target.subtask_id].append(received)
            self._outputs[channel.source.subtask_id, channel.edge.index].append(
                LocalOutputChannel(received, 2)
            )
        self._tasks, self._readers = [], {}
        feedback: dict[Any, Any] = defaultdict(deque)
        for subtask in self._graph.subtasks:
            self._make(subtask, feedback)
        operators = [operator for task in self._tasks for operator in task.chain.operators]
        self._sinks = [operator for operator in operators if isinstance(operator, Keeping)]
        self._dawdlers = [operator for operator in operators if isinstance(operator, Dawdling)]
        self._steppable = [*self._tasks, *self._readers.values()]

    def _make(self, subtask, feedback) -> None:
        writers = defaultdict(list)
        for edge in self._graph.job.outputs_of(subtask.vertex.index):
            channels = self._outputs[subtask.subtask_id, edge.index]
            writers[edge.source_operator, edge.side_output].append(
                make_record_writer(edge.partitioner, channels, 128, 2)
            )
        flat = [writer for group in writers.values() for writer in group]
        if subtask.vertex.is_source:
            position = self._complete[1].get(str(subtask.subtask_id), 0)
            self._readers[str(subtask.subtask_id)] = Reader(flat, position, self._rounds)
            assert len(subtask.vertex.operators) == 1
            return
        events = TaskEvents(lambda _: True, self._on_snapshot, lambda *_: None, lambda _: None)
        inputs = [TaskInput(channel, 1) for channel in self._inputs[subtask.subtask_id]]
        kind = task_type(subtask.vertex.operators[0].operator)
        chain = build_chain(subtask.vertex.operators, writers)
        task = kind(subtask, chain, flat, events, ManualClock(), 8, inputs, exactly_once=True)
        task._probes = self._aligner_type(len(inputs))
        if isinstance(task, IterationHeadTask | IterationTailTask):
            task.connect(feedback[task.head_id, subtask.index])
        if isinstance(task, IterationHeadTask):
            task._head = self._head_type(root=subtask.vertex.operators[0].operator.root)
        self._open(task)
        self._tasks.append(task)

    def _open(self, task) -> None:
        subtask = task.subtask
        restored = self._complete[0].get(str(subtask.subtask_id), {})
        for description, operator, output in reversed(
            list(zip(task.chain.descriptions, task.chain.operators, task.chain.outputs, strict=True))
        ):
            (share,) = assign_state([restored.get(description.operator_id, OperatorSnapshot())], 1, 128)
            info = RuntimeInfo(
                "job", "job", "task", description.name, description.operator_id, subtask.index,
                subtask.vertex.parallelism, 128, 0, None, 200, True,
            )  # fmt: skip
            operator.open(
                OperatorContext(
                    info=info,
                    output=output,
                    processing_time=None,
                    clock=ManualClock(),
                    restored_lists=share.lists,
                    open_backend=None,
                    count=_nothing_comes_back_after_the_end,
                    run_in_background=None,
                    call_soon=None,
                    send_to_client=None,
                )
            )


def _nothing_comes_back_after_the_end(name, count) -> None:
    raise Violation(f"{name}: {count}")
