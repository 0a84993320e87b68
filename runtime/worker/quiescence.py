"""When a loop of the program has run empty, so that a bounded job may end. Pure.

Once the inputs of its heads have ended, a probe goes round the loop: from every head, behind the records, through every task
(aligned over its channels, like a barrier, but blocking none) to the tails, which hand it back. Every head also sends it
straight to every tail, so that each round waits for all heads, and all of them see the same outcome: whether any of them
received feedback between sending the last probe and sending this one.

The probe is the cut of a snapshot, and feedback received between two probes is what was in the channels of the first one. If
there was none, the loop was empty then; as nobody can fill it from outside any more, it stays so. The first probe of a phase
has no predecessor, so a phase takes two rounds at least.

Loops that can reach each other (one inside the other, or with a common body) run empty together, or not at all: they are one
group, whose heads all take part. Those with inputs from outside the group alone are its roots. They keep back the watermark MAX until the
group has run empty, and, since timers that it fires may feed records back once more, the end until it has done so again.

Source: Chandy and Lamport, "Distributed Snapshots" (1985), section 4: stable properties.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from ...core.batch import LoopProbe
from ...core.errors import ProtocolViolation


class ProbeAligner:
    """Which probes have come on all channels of a task: a channel that has ended has brought everything it will."""

    def __init__(self, channels: int) -> None:
        self._open = set(range(channels))
        self._arrived: dict[tuple[str, int], set[int]] = {}
        self._active: set[tuple[str, int]] = set()

    def on_probe(self, channel: int, probe: LoopProbe) -> list[LoopProbe]:
        """A probe came. Gives it when it is complete, active if any of its copies was."""
        for loop, round_ in list(self._arrived):
            # Heads are at most a round apart. Behind an exit of the loop other inputs may hold up probes that nobody needs.
            if loop == probe.loop and round_ < probe.round - 1:
                self._forget(loop, round_)
        key = (probe.loop, probe.round)
        self._arrived.setdefault(key, set()).add(channel)
        if probe.active:
            self._active.add(key)
        return self._complete()

    def on_end(self, channel: int) -> list[LoopProbe]:
        """A channel ended; gives the probes that are complete now."""
        self._open.discard(channel)
        return self._complete()

    def _complete(self) -> list[LoopProbe]:
        complete = [key for key, channels in self._arrived.items() if channels >= self._open]
        probes = [LoopProbe(loop, round_, (loop, round_) in self._active) for loop, round_ in complete]
        for key in complete:
            self._forget(*key)
        return probes

    def _forget(self, loop: str, round_: int) -> None:
        del self._arrived[loop, round_]
        self._active.discard((loop, round_))


@dataclass(frozen=True, slots=True)
class SendProbe:
    """Send this round's probe to all outputs."""

    round: int
    active: bool


@dataclass(frozen=True, slots=True)
class ReleaseMaxWatermark:
    """The loop has run empty: event time ends."""


@dataclass(frozen=True, slots=True)
class EndLoop:
    """It has run empty once more: the input of the loop has ended."""


HeadAction: TypeAlias = SendProbe | ReleaseMaxWatermark | EndLoop


class _Phase(Enum):
    FED = "the inputs have not ended"
    BEFORE_MAX = "waiting until the loop is empty, to pass the watermark MAX on"
    BEFORE_END = "waiting until the loop is empty again, to pass the end on"
    ENDED = "nothing more to do"


class LoopHead:
    """What one subtask of an iteration head has to do with probes.

    Args:
        root: all its inputs come from outside the group.
    """

    def __init__(self, *, root: bool) -> None:
        self._root = root
        self._phase = _Phase.FED
        self._sent = 0
        self._returned = 0
        self._received_feedback = False
        self._arrived: LoopProbe | None = None

    def on_feedback(self) -> None:
        """Records came back."""
        self._received_feedback = True

    def on_inputs_ended(self) -> list[HeadAction]:
        """All inputs but the feedback have ended."""
        if not self._root:
            self._phase = _Phase.ENDED
            return [EndLoop()]
        self._phase = _Phase.BEFORE_MAX
        return [self._send(first=True)]

    def on_probe(self, probe: LoopProbe) -> list[HeadAction]:
        """A probe of the group came from another head, on all inputs. It goes on once the last one has come back here."""
        self._arrived = probe
        return self._pass_on()

    def on_return(self, probe: LoopProbe) -> list[HeadAction]:
        """The probe of a round came back by the feedback edge."""
        if probe.round != self._sent:
            raise ProtocolViolation(f"round {probe.round} came back after round {self._sent} was sent")
        self._returned = probe.round
        if not self._root:
            return self._pass_on()
        if probe.active:
            return [self._send()]
        if self._phase is _Phase.BEFORE_MAX:
            self._phase = _Phase.BEFORE_END
            return [ReleaseMaxWatermark(), self._send(first=True)]
        self._phase = _Phase.ENDED
        return [EndLoop()]

    def _pass_on(self) -> list[HeadAction]:
        if self._arrived is None or self._returned < self._sent:
            return []
        active, self._arrived = self._arrived.active, None
        return [self._send(active=active)]

    def _send(self, *, first: bool = False, active: bool = False) -> SendProbe:
        self._sent += 1
        active = first or active or self._received_feedback
        self._received_feedback = False
        return SendProbe(self._sent, active)
