"""Becoming the leader, and staying it: carries out what `leadership` decides."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

import msgspec

from ...checkpoint.retry import wait_ms
from ...core.clock import Clock
from ...core.errors import LeadershipLostError
from .leadership import (
    Claim,
    Claimed,
    ClaimRefused,
    Event,
    Lead,
    Leadership,
    LeaseTerms,
    Look,
    Renew,
    RenewalFailed,
    Renewed,
    Seen,
    StepDown,
    Superseded,
    Tick,
)
from .records import ClusterRecord, Leader, decode_record, encode_record
from .store import RecordConflict, RecordStore

_LOG: Final = logging.getLogger(__name__)
_FOREVER_MS: Final = 1 << 62


@dataclass(frozen=True, slots=True)
class Watching:
    """What a standby wants to know of each record it reads.

    Attributes:
        over: whether there is nothing left to stand by for.
        may_lead: whether to lead if nobody does.
        seen: told of every record.
    """

    over: Callable[[ClusterRecord], bool]
    may_lead: Callable[[ClusterRecord], bool] = lambda _: True
    seen: Callable[[ClusterRecord], None] = lambda _: None


def contend(
    store: RecordStore, terms: LeaseTerms, clock: Clock, watching: Watching
) -> LeaderSession | ClusterRecord:
    """Block until this process leads, or until `watching.over`; then the record that said so.

    While the services do not answer it goes on trying: a standby outlives them.
    """
    machine = Leadership(terms)
    version, record = 0, ClusterRecord()
    while True:
        now_ms = clock.monotonic_ms()
        deadline_ms = machine.next_deadline_ms()
        assert deadline_ms is not None, "a standby always has something to do"
        if deadline_ms > now_ms:
            wait_ms(deadline_ms - now_ms)
            continue
        began_ms = now_ms
        actions = machine.handle(Tick(), now_ms)
        assert actions == [Look()]
        version, record, sign = _look(store, terms)
        watching.seen(record)
        if watching.over(record):
            return record
        seen = _seen(record, sign, began_ms, may_lead=watching.may_lead(record))
        if machine.handle(seen, clock.monotonic_ms()) != [Claim()]:
            continue
        event, claimed = _claim(store, version, record, terms, clock.monotonic_ms())
        if Lead(claimed.epoch) in machine.handle(event, clock.monotonic_ms()):
            return LeaderSession(store, version + 1, claimed, machine, clock)


def _seen(record: ClusterRecord, sign: str, began_ms: int, *, may_lead: bool) -> Seen:
    if not may_lead:
        return Seen(sign, began_ms, _FOREVER_MS)
    return Seen(None, began_ms) if record.leader is None else Seen(sign, began_ms, record.leader.lease_ms)


def _look(store: RecordStore, terms: LeaseTerms) -> tuple[int, ClusterRecord, str]:
    """The record, its version and its leader's sign, as soon as the services tell.

    What was read when they did not answer at first counts from before the first attempt: later than it was is never assumed.
    """
    told = False
    while True:
        try:
            version, content = store.read()
            record = decode_record(content)
            sign = store.read_sign(record.epoch).hex() if record.leader is not None else ""
        except OSError as error:
            if not told:
                _LOG.warning("the high availability services do not answer: %s", error)
            told = True
            wait_ms(terms.look_ms)
        else:
            return version, record, f"{record.epoch}/{sign}"


def _claim(
    store: RecordStore, version: int, record: ClusterRecord, terms: LeaseTerms, now_ms: int
) -> tuple[Claimed | ClaimRefused, ClusterRecord]:
    leader = Leader(os.urandom(8).hex(), terms.lease_ms, "", socket.gethostname(), os.getpid())
    claimed = msgspec.structs.replace(
        record, revision=record.revision + 1, epoch=record.epoch + 1, leader=leader
    )
    try:
        store.replace(version, encode_record(claimed))
    except (RecordConflict, OSError) as error:
        _LOG.info("another job manager may have become the leader: %s", error)
        return ClaimRefused(), claimed
    return Claimed(claimed.epoch, now_ms), claimed


class LeaderSession:
    """This process's leadership, from its beginning to its end. Thread-safe.

    A thread of its own shows signs of life, whatever the job manager is doing; `start` begins it.
    """

    def __init__(
        self, store: RecordStore, version: int, record: ClusterRecord, machine: Leadership, clock: Clock
    ) -> None:
        self._store = store
        self._version = version
        self._record = record
        self._machine = machine
        self._clock = clock
        self._deciding = threading.Lock()
        self._replacing = threading.Lock()
        self._closed = threading.Event()
        self._lost: str | None = None
        self._on_lost: Callable[[], None] = lambda: None
        self._signs = 0
        self._thread = threading.Thread(target=self._run, name="millstream-lease", daemon=True)
        self._thread.start()

    @property
    def record(self) -> ClusterRecord:
        """The cluster's record as this leader last wrote it."""
        return self._record

    @property
    def epoch(self) -> int:
        """The fencing token of this leadership."""
        return self._record.epoch

    def when_lost(self, wake: Callable[[], None]) -> None:
        """Call `wake`, from another thread, as soon as the leadership is lost."""
        self._on_lost = wake

    def require(self) -> None:
        """Nothing, if no other process can be leading at this moment.

        Raises:
            LeadershipLostError: this process must not act any more.
        """
        if self._lost is None and self._machine.may_act(self._clock.monotonic_ms()):
            return
        raise LeadershipLostError(
            f"this process led under epoch {self.epoch} and does not any more:"
            f" {self._lost or 'its lease ran out'}",
            fix="the job goes on where the new leader is; start this program again for another standby",
        )

    def update(self, change: Callable[[ClusterRecord], ClusterRecord]) -> ClusterRecord:
        """Replace the record by `change` of it; durable on return. Waits while the services do not answer.

        Raises:
            LeadershipLostError: before anything was replaced, or because somebody else had replaced it.
        """
        with self._replacing:
            self.require()
            changed = change(self._record)
            changed = msgspec.structs.replace(changed, revision=self._record.revision + 1)
            content = encode_record(changed)
            while True:
                self.require()
                try:
                    self._version = self._store.replace(self._version, content)
                except RecordConflict:
                    self._lose("another job manager has taken the cluster's record")
                except OSError as error:
                    _LOG.warning("the high availability services do not answer: %s", error)
                    wait_ms(100)
                else:
                    self._record = changed
                    return changed

    def release(self, change: Callable[[ClusterRecord], ClusterRecord] = lambda record: record) -> None:
        """End the leadership so that a standby need not wait, with a last change of the record.

        Raises:
            LeadershipLostError: it had ended before.
        """
        self.update(lambda record: msgspec.structs.replace(change(record), leader=None))
        self._lost = "it was given up"
        self.close()

    def close(self) -> None:
        """Show no more signs. Without `release`, others wait until the lease is over. Idempotent."""
        self._lost = self._lost or "it was closed"
        self._closed.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._store.close()

    # ---- the thread ---------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed.is_set():
            now_ms = self._clock.monotonic_ms()
            event: Event | None = Tick()
            while event is not None:
                event = self._decide(event)
            deadline_ms = self._machine.next_deadline_ms()
            if deadline_ms is None or self._lost is not None:
                return
            self._closed.wait(max(0, deadline_ms - now_ms) / 1_000)

    def _decide(self, event: Event) -> Event | None:
        with self._deciding:
            actions = self._machine.handle(event, self._clock.monotonic_ms())
        for action in actions:
            match action:
                case Renew():
                    return self._renew()
                case StepDown(reason=reason):
                    self._lose(reason)
                case Look() | Claim() | Lead():
                    raise AssertionError(action)
                case _:
                    assert_never(action)
        return None

    def _renew(self) -> Renewed | RenewalFailed | Superseded:
        began_ms = self._clock.monotonic_ms()
        self._signs += 1
        try:
            self._store.write_sign(self.epoch, self._signs.to_bytes(8, "big"))
            epoch = decode_record(self._store.read().content).epoch
        except OSError as error:
            _LOG.warning("no sign of life could be shown: %s", error)
            return RenewalFailed()
        return Renewed(began_ms) if epoch == self.epoch else Superseded(epoch)

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        self._on_lost()
