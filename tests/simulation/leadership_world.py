"""Several contenders for one record in one thread: operations that take their time, processes that are stopped and die, clocks that differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import assert_never

from millstream.runtime.high_availability.leadership import (
    Action,
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
    Role,
    Seen,
    StepDown,
    Superseded,
    Tick,
)

TERMS = LeaseTerms(lease_ms=1_000, margin_ms=100, renew_ms=250, look_ms=100)
HORIZON_MS = 10_000


class Violation(AssertionError):
    """Two contenders believed to lead at one moment, or nobody could in the end."""


@dataclass
class Service:
    """The record and the signs; `up` is whether it answers."""

    version: int = 0
    epoch: int = 0
    holder: int | None = None
    signs: dict[int, int] = field(default_factory=dict)
    up: bool = True


@dataclass
class Contender:
    """A process: its machine, its clock, and what it is waiting for.

    `steps` are the rest of an operation; each step is one access to the service.
    """

    number: int
    offset_ms: int
    rate: float
    machine: Leadership
    alive: bool = True
    stopped_until_ms: int = 0
    steps: list[Callable[[int], None]] = field(default_factory=list)
    next_step_ms: int = 0
    seen_version: int = 0

    def clock(self, now_ms: int) -> int:
        return self.offset_ms + int(now_ms * self.rate)


class World:
    """One run. `machine` makes the decider: a mutant in the tests that plant bugs."""

    def __init__(self, seed: int, machine: Callable[[LeaseTerms], Leadership] = Leadership) -> None:
        self.random = Random(seed)
        self.service = Service()
        self.now_ms = 0
        self.make_machine = machine
        self.contenders = [self._new(number) for number in range(self.random.randint(2, 4))]
        self.led: list[int] = []
        self.faults = True
        self.pauses_while_leading = 0

    def run(self) -> None:
        while self.now_ms < HORIZON_MS:
            self._turn()
        self.faults = False
        self.service.up = True
        self.contenders.append(self._new(len(self.contenders)))  # one that was never deposed
        for contender in self.contenders:
            contender.stopped_until_ms = 0
        end = self.now_ms + 10 * TERMS.lease_ms
        while self.now_ms < end:
            self._turn()
        if not any(self._acts(contender) for contender in self.contenders):
            msg = "faults are over, and nobody leads"
            raise Violation(msg)
        if self.led != sorted(set(self.led)):
            msg = f"epochs do not rise: {self.led}"
            raise Violation(msg)

    # ---- one millisecond or more ------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        self.now_ms += self.random.choice([1, 5, 10, 20])
        if self.faults:
            self._break_something()
        for contender in self.random.sample(self.contenders, len(self.contenders)):
            if contender.alive and contender.stopped_until_ms <= self.now_ms:
                self._move(contender)
        self._check()

    def _break_something(self) -> None:
        chance = self.random.random()
        victim = self.random.choice(self.contenders)
        if chance < 0.004:
            leads = victim.machine.role is Role.LEADING
            self.pauses_while_leading += leads
            victim.stopped_until_ms = self.now_ms + self.random.choice([50, 500, 1_000, 1_500, 5_000])
        elif chance < 0.005:
            victim.alive = False
            self.contenders.append(self._new(len(self.contenders)))
        elif chance < 0.008:
            self.service.up = False
        elif chance < 0.03:
            self.service.up = True

    def _move(self, contender: Contender) -> None:
        if contender.steps:
            if contender.next_step_ms <= self.now_ms:
                contender.next_step_ms = self.now_ms + self._some_time()
                contender.steps.pop(0)(self.now_ms)
            return
        local_ms = contender.clock(self.now_ms)
        deadline = contender.machine.next_deadline_ms()
        if deadline is not None and deadline <= local_ms:
            self._handle(contender, Tick())

    def _handle(self, contender: Contender, event: Event) -> None:
        for action in contender.machine.handle(event, contender.clock(self.now_ms)):
            self._perform(contender, action)

    def _check(self) -> None:
        acting = [contender.number for contender in self.contenders if self._acts(contender)]
        if len(acting) > 1:
            msg = f"{acting} all lead at {self.now_ms}"
            raise Violation(msg)

    def _acts(self, contender: Contender) -> bool:
        """Also a stopped one may act at its next instruction: it asks its clock first."""
        return contender.alive and contender.machine.may_act(contender.clock(self.now_ms))

    # ---- what they ask for ----------------------------------------------------------------------------------------------

    def _perform(self, contender: Contender, action: Action) -> None:
        began_ms = contender.clock(self.now_ms)
        match action:
            case Look():
                self._begin(contender, self._look(contender, began_ms))
            case Claim():
                self._begin(contender, self._claim(contender, began_ms))
            case Renew():
                self._begin(contender, self._renew(contender, began_ms))
            case Lead(epoch=epoch):
                self.led.append(epoch)
            case StepDown():
                # Its process ends, and is started again as a new contender.
                if self.faults:
                    self.contenders.append(self._new(len(self.contenders)))
            case _:
                assert_never(action)

    def _begin(self, contender: Contender, steps: list[Callable[[int], None]]) -> None:
        contender.steps = steps
        contender.next_step_ms = self.now_ms + self._some_time()

    def _look(self, contender: Contender, began_ms: int) -> list[Callable[[int], None]]:
        seen: list[Seen] = []

        def read(_: int) -> None:
            service = self.service
            contender.seen_version = service.version
            sign = None if service.holder is None else f"{service.epoch}/{service.signs.get(service.epoch)}"
            seen.append(Seen(sign, began_ms, TERMS.lease_ms))

        def answer(_: int) -> None:
            # An unanswered look is repeated by the shell, with a new beginning.
            if self.service.up:
                self._handle(contender, seen[0])
            else:
                self._begin(contender, self._look(contender, contender.clock(self.now_ms)))

        return [read, answer]

    def _claim(self, contender: Contender, began_ms: int) -> list[Callable[[int], None]]:
        outcome: list[Event] = [ClaimRefused()]

        def replace(_: int) -> None:
            service = self.service
            if service.up and service.version == contender.seen_version:
                service.version += 1
                service.epoch += 1
                service.holder = contender.number
                outcome[0] = Claimed(service.epoch, began_ms)

        return [replace, lambda _: self._handle(contender, outcome[0])]

    def _renew(self, contender: Contender, began_ms: int) -> list[Callable[[int], None]]:
        outcome: list[Event] = []
        epoch = contender.machine.epoch

        def write(_: int) -> None:
            if self.service.up:
                self.service.signs[epoch] = self.service.signs.get(epoch, 0) + 1
            else:
                outcome.append(RenewalFailed())

        def check(_: int) -> None:
            found = self.service.epoch
            outcome.append(Renewed(began_ms) if found == epoch else Superseded(found))

        return [write, check, lambda _: self._handle(contender, outcome[0])]

    def _some_time(self) -> int:
        slow = self.faults and self.random.random() < 0.03
        return 1_200 if slow else self.random.choice([0, 1, 5, 20, 100])

    def _new(self, number: int) -> Contender:
        rate = self.random.uniform(0.98, 1.02)  # the margin allows five of a hundred each way
        return Contender(number, self.random.randint(0, 10**9), rate, self.make_machine(TERMS))
