"""Planted bugs of the election."""

from __future__ import annotations

from dataclasses import replace

from millstream.runtime.high_availability.leadership import (
    Claimed,
    Event,
    Leadership,
    Renewed,
    Seen,
)


class TrustsALateRenewal(Leadership):
    """A renewal that ended after the lease still extends it."""

    def handle(self, event: Event, now_ms: int):
        if isinstance(event, Renewed) and self._asked:
            self._valid_until_ms = max(self._valid_until_ms, now_ms + 1)
        return super().handle(event, now_ms)


class CountsFromTheEndOfARenewal(Leadership):
    """The lease counts from when the answer came."""

    def handle(self, event: Event, now_ms: int):
        if isinstance(event, Renewed | Claimed):
            event = replace(event, began_ms=now_ms)
        return super().handle(event, now_ms)


class TrustsAnOldLook(Leadership):
    """What was read counts as of the moment it is looked at, however long ago it was read."""

    def handle(self, event: Event, now_ms: int):
        if isinstance(event, Seen):
            event = replace(event, began_ms=now_ms)
        return super().handle(event, now_ms)


class Impatient(Leadership):
    """Half a lease without a sign is enough."""

    def handle(self, event: Event, now_ms: int):
        if isinstance(event, Seen):
            event = replace(event, lease_ms=event.lease_ms // 2)
        return super().handle(event, now_ms)


class NeverLapses(Leadership):
    """Only another epoch ends a leadership."""

    def may_act(self, now_ms: int) -> bool:
        return self.role.name == "LEADING"


class ForgetsTheSign(Leadership):
    """Every look begins the waiting anew: nobody ever takes over."""

    def handle(self, event: Event, now_ms: int):
        if isinstance(event, Seen):
            self._sign = None
        return super().handle(event, now_ms)


LEADERSHIPS = (
    TrustsALateRenewal,
    CountsFromTheEndOfARenewal,
    TrustsAnOldLook,
    Impatient,
    NeverLapses,
    ForgetsTheSign,
)
