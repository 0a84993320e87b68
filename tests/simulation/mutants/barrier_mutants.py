"""Planted bugs of barriers that overtake, each of which the simulation must notice."""

from __future__ import annotations

import msgspec

from millstream.core.batch import CheckpointBarrier, Watermark
from millstream.runtime.exchange.channels import InputChannel, RemoteOutputChannel
from millstream.runtime.exchange.codec import CONTROL
from millstream.runtime.worker.channel_state import RestoredExchange
from millstream.runtime.worker.input_task import InputTask
from tests.simulation.barrier_world import Parts


class ForgetsWhatIsQueued(InputChannel):
    """Keeps only what still comes before the barrier."""

    def record_into(self, in_flight):
        if not any(isinstance(e, CheckpointBarrier) for e in self._queue):
            self._in_flight = in_flight
            in_flight.open(self.channel_id)


class ForgetsWhatStillComes(InputChannel):
    """Keeps only what is queued: the snapshot is acknowledged before its channel state is complete."""

    def record_into(self, in_flight):
        super().record_into(in_flight)
        self._in_flight = None
        in_flight.close(self.channel_id)


class KeepsWhatIsBehindTheBarrier(InputChannel):
    """Does not look where the barrier is in the queue."""

    def record_into(self, in_flight):
        ended = [e for e in self._queue if isinstance(e, CheckpointBarrier)]
        for element in list(self._queue):
            self._record(element, in_flight)
        if not ended:
            self._in_flight = in_flight
            in_flight.open(self.channel_id)


class LetsDataOvertakeTheBarrier(RemoteOutputChannel):
    """What waits for credit is kept, and then sent before the barrier."""

    def overtake(self):
        send, held = self._send_frame, []
        self._send_frame = lambda *frame: held.append(frame)
        super().overtake()
        self._send_frame = send
        while held and self._waiting:
            kind, payload = self._waiting.popleft()
            self._credit -= kind != CONTROL
            send(kind, self.channel_id, payload)
        for frame in held:
            send(*frame)


class KeepsNothingOfWhatWaits(RemoteOutputChannel):
    """The sender's part of what the barrier overtakes is lost."""

    def overtake(self):
        waiting = self._waiting_barrier
        if waiting is not None:
            frames = dict(waiting.in_flight.frames)
            super().overtake()
            waiting.in_flight.frames.clear()
            waiting.in_flight.frames.update(frames)


class AcknowledgesBeforeItKeeps(RemoteOutputChannel):
    """The snapshot is complete before the sender's part is in it."""

    def overtake(self):
        if self._waiting_barrier is not None:
            self._waiting_barrier.in_flight.close(self.channel_id)
        super().overtake()


class PutsTheSendersPartFirst(RestoredExchange):
    """What had not left the sender comes before what had arrived."""

    def read(self, reader):
        turned = tuple(msgspec.structs.replace(h, outgoing=not h.outgoing) for h in self.handles)
        return RestoredExchange(self.edge, self.subtask, self.codec, turned, self.channels).read(reader)


class ForgetsTheSendersPart(RestoredExchange):
    """Only the receiver's part comes back."""

    def read(self, reader):
        mine = tuple(handle for handle in self.handles if not handle.outgoing)
        return (
            RestoredExchange(self.edge, self.subtask, self.codec, mine, self.channels).read(reader)
            if mine
            else {}
        )


class LosesKeyGroupsOnRescale(RestoredExchange):
    """Records go to the subtask of the old number, whoever owns their keys now."""

    def _router(self):
        return lambda target, batch: [batch] if target == self.subtask.index else []


class GivesEverybodyEverything(RestoredExchange):
    """Does not ask who owns a key."""

    def _router(self):
        return lambda _, batch: [batch]


class BelievesTheFastestSender(RestoredExchange):
    """Replays the greatest watermark under way."""

    def read(self, reader):
        restored = super().read(reader)
        said = [e for es in self._contents(reader).values() for e in es if isinstance(e, Watermark)]
        if said:
            for channel in self.channels:
                restored.setdefault(channel, []).append(max(said, key=lambda w: w.timestamp))
        return restored


class MixesOldAndNew(InputTask):
    """Reads new records beside the restored ones."""

    def restore_channels(self, restored):
        super().restore_channels(restored)
        self._replaying.clear()


class LeavesItsSendersStanding(InputTask):
    """Waits for a barrier that stands behind records which only go on when this task does."""

    def _set_aside(self):
        return False


class OvertakesRestoredRecords(InputTask):
    """Lets a checkpoint begin while records of the last one are still to be processed."""

    def _plan_overtaking(self):
        replaying, self._replaying = self._replaying, set()
        super()._plan_overtaking()
        self._replaying = replaying


_PLACES = {
    InputChannel: "received",
    RemoteOutputChannel: "sent",
    RestoredExchange: "restored",
    InputTask: "task",
}
MUTANTS = {
    mutant.__name__: Parts(**{place: mutant})
    for base, place in _PLACES.items()
    for mutant in base.__subclasses__()
    if mutant.__module__ == __name__
}
