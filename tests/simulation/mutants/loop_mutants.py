"""Planted bugs of the detection of empty loops, each of which the simulation must notice."""

from __future__ import annotations

from millstream.runtime.worker.quiescence import EndLoop, LoopHead, ProbeAligner, ReleaseMaxWatermark


class EndsAfterTheFirstRound(LoopHead):
    """Takes the first probe for the second."""

    def _send(self, *, first=False, active=False):
        return super()._send(active=active)


class EndsWithoutLookingAtTheOthers(LoopHead):
    """Counts only what this head received."""

    def on_return(self, probe):
        if self._root and not self._received_feedback and self._sent > 1:
            probe = type(probe)(probe.loop, probe.round, False)
        return super().on_return(probe)


class EndsTogetherWithTheWatermark(LoopHead):
    """Forgets that timers may feed records back."""

    def on_return(self, probe):
        actions = super().on_return(probe)
        if actions and isinstance(actions[0], ReleaseMaxWatermark):
            return [actions[0], EndLoop()]
        return actions


class ForgetsFeedback(LoopHead):
    """Never active."""

    def on_feedback(self):
        pass


class PassesProbesOnTooEarly(LoopHead):
    """Does not wait for its own last probe to come back."""

    def _pass_on(self):
        if self._arrived is None:
            return []
        active, self._arrived = self._arrived.active, None
        return [self._send(active=active)]


class DropsActivity(ProbeAligner):
    """The last copy's word counts, not that of any."""

    def on_probe(self, channel, probe):
        self._active.discard((probe.loop, probe.round))
        return super().on_probe(channel, probe)


class WaitsForOneChannelAlone(ProbeAligner):
    """Passes the first copy on."""

    def __init__(self, channels):
        super().__init__(channels)
        self._seen = set()

    def on_probe(self, channel, probe):
        key = (probe.loop, probe.round)
        if key in self._seen:
            return []
        self._seen.add(key)
        return [probe]


class WaitsForEndedChannels(ProbeAligner):
    """Never notices that a channel has ended."""

    def on_end(self, channel):
        return []


HEADS = (
    EndsAfterTheFirstRound,
    EndsWithoutLookingAtTheOthers,
    EndsTogetherWithTheWatermark,
    ForgetsFeedback,
    PassesProbesOnTooEarly,
)
ALIGNERS = (DropsActivity, WaitsForOneChannelAlone, WaitsForEndedChannels)
