"""The exchanges of one attempt on one worker: what its tasks read from, write to, and may have under way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from random import Random

from ...core.ids import SubtaskId, WorkerId
from ...operators.iteration import LOOP_CONTROL
from ...operators.window import WindowSpec
from ..exchange.channels import InputChannel, OutputChannel
from ..exchange.codec import BatchCodec
from ..exchange.peers import Peers
from ..exchange.record_writer import RecordWriter, make_record_writer
from ..graph.channel_state import may_wait_for_themselves, overtakable_edges
from ..graph.execution_graph import Channel, ExecutionGraph, Subtask
from ..graph.job_graph import JobEdge
from .input_task import TaskInput
from .pacing import FastestPace, Pace, PacedLocalChannel, PacedRemoteChannel
from .settings import WorkerSettings


class Exchanges:
    """Channels between the subtasks here, and from and to those of other workers.

    Args:
        worker: this one.
        make_pace: for one channel.

    Attributes:
        codecs: by the edge's index.
    """

    def __init__(
        self,
        graph: ExecutionGraph,
        worker: WorkerId,
        peers: Peers,
        settings: WorkerSettings,
        make_pace: Callable[[], Pace],
    ) -> None:
        self.codecs: dict[int, BatchCodec] = {}
        self._graph = graph
        self._worker = worker
        self._peers = peers
        self._settings = settings
        self._make_pace = make_pace
        self._inputs: dict[SubtaskId, list[TaskInput]] = defaultdict(list)
        self._outputs: dict[tuple[SubtaskId, int], list[OutputChannel]] = defaultdict(list)
        self._paces: dict[SubtaskId, dict[int, list[Pace]]] = defaultdict(lambda: defaultdict(list))
        self._overtakable = overtakable_edges(graph.job)
        self._may_wait = may_wait_for_themselves(graph.job)

    def make(self, channels: Sequence[Channel]) -> frozenset[WorkerId]:
        """Make those of the channels that begin or end here; the other workers that they lead to and from."""
        me = self._worker
        here = [c for c in channels if me in (c.source.worker, c.target.worker)]
        for channel in here:
            if channel.edge.index not in self.codecs:
                self.codecs[channel.edge.index] = self._codec(channel.edge)
            self._make_channel(channel, self.codecs[channel.edge.index])
        return frozenset(w for c in here for w in (c.source.worker, c.target.worker)) - {me}

    def inputs_of(self, subtask: Subtask) -> list[TaskInput]:
        """What a subtask here reads from."""
        return self._inputs[subtask.subtask_id]

    def writers_of(self, subtask: Subtask) -> Mapping[tuple[int, str | None], list[RecordWriter]]:
        """What the subtask writes to: by the operator of the chain and its side output (None: the main one)."""
        job, settings = self._graph.job, self._settings
        writers: dict[tuple[int, str | None], list[RecordWriter]] = defaultdict(list)
        for edge in job.outputs_of(subtask.vertex.index):
            writer = make_record_writer(
                edge.partitioner,
                self._outputs[subtask.subtask_id, edge.index],
                job.vertices[edge.target].max_parallelism,
                settings.batch_size,
                random=Random(f"{edge.index} {subtask.index}"),
            )
            writer.buffer_timeout_ms = edge.buffer_timeout_ms
            writer.overtakable = edge.index in self._overtakable
            writers[edge.source_operator, edge.side_output].append(writer)
        return writers

    def paces_of(self, subtask: Subtask) -> tuple[Pace | FastestPace, ...]:
        """What limits the subtask: each channel on its own, but where records go to whichever has room, these together."""
        found: list[Pace | FastestPace] = []
        for index, paces in self._paces[subtask.subtask_id].items():
            adaptive = getattr(self._graph.job.edges[index].partitioner, "adaptive", False)
            found += [FastestPace(paces)] if adaptive else paces
        return tuple(found)

    def _make_channel(self, channel: Channel, codec: BatchCodec) -> None:
        me, peers, room = self._worker, self._peers, self._settings.credits_per_channel
        output: OutputChannel
        pace = self._make_pace()
        if channel.target.worker == me:
            give_credit = None if channel.is_local else peers.credit_to(channel.source.worker)
            received = InputChannel(channel.channel_id, codec, give_credit)
            self._inputs[channel.target.subtask_id].append(
                TaskInput(
                    received,
                    channel.edge.input_id,
                    channel.edge.index in self._overtakable,
                    channel.edge.target in self._may_wait,
                )
            )
            if channel.is_local:
                output = PacedLocalChannel(received, room, pace)
                self._outputs[channel.source.subtask_id, channel.edge.index].append(output)
                self._note_pace(channel, pace)
            else:
                peers.inputs[channel.channel_id] = received
        else:
            sender = peers.sender_to(channel.target.worker)
            output = PacedRemoteChannel(channel.channel_id, codec, sender, room, pace)
            peers.outputs[channel.channel_id] = output
            self._outputs[channel.source.subtask_id, channel.edge.index].append(output)
            self._note_pace(channel, pace)

    def _note_pace(self, channel: Channel, pace: Pace) -> None:
        if channel.edge.side_output != LOOP_CONTROL:  # which carries no record that could be slow
            self._paces[channel.source.subtask_id][channel.edge.index].append(pace)

    def _codec(self, edge: JobEdge) -> BatchCodec:
        consumer = self._graph.job.vertices[edge.target].operators[0].operator
        if isinstance(consumer, WindowSpec):
            return BatchCodec(edge.record_type, consumer.key_type, consumer.contents.state_type)
        return BatchCodec(edge.record_type)
