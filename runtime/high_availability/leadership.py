"""Who leads: the lease of one contender, decided without I/O.

A leader owns the cluster's record under an epoch, the fencing token, and shows at short intervals that it lives, by changing
a sign. Whoever else wants to lead watches the sign. What others do is told by two facts alone: the record changes hands only
by an exclusive replacement, and a sign that stays the same for a whole lease belongs to a leader that has stopped acting.

          .--------- the record was taken by another ---------.
          v                                                    |
       STANDBY -- nobody leads, or the sign stands still --> CLAIMING -- the record is ours --> LEADING
                                                                                                  |
                     the lease runs out, or the record is another's:                           DEPOSED

Rules of this file:

- Only lengths of time are compared, each measured by one machine's monotonic clock: clocks need not agree, only run at about
  the same rate (`LeaseTerms.margin_ms` is what they may differ by over one lease).
- The lease of a leader counts from the moment before its last successful sign; for an observer from the moment after it first
  saw the sign until that before it last saw it: so the leader stops first, however long reads and writes take.
- A renewal that ends after the lease does is void. A process that was stopped finds its lease over when it goes on.
- Whoever is deposed never leads again: its process ends, and a new one contends.

INVARIANT L1: at no moment may two contenders act.
Kept by: tests/simulation/test_leadership.py

Source: Gray and Cheriton, "Leases", SOSP 1989; fencing tokens as in Burrows, "The Chubby lock service", OSDI 2006 (sequencers).
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TypeAlias, assert_never

from ...core.errors import ProtocolViolation


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """How long a sign of life is good for. All in milliseconds.

    Attributes:
        lease_ms: how long others leave a leader alone whose sign does not change.
        margin_ms: how much sooner the leader itself stops: for clocks that run at different rates.
        renew_ms: from one sign to the next.
        look_ms: from one look at the leader's sign to the next.
    """

    lease_ms: int
    margin_ms: int
    renew_ms: int
    look_ms: int

    @staticmethod
    def of(lease_ms: int) -> LeaseTerms:
        """The terms for a lease: a tenth in reserve, four signs a lease, and looks often enough to lose little time."""
        return LeaseTerms(lease_ms, lease_ms // 10, lease_ms // 4, min(1_000, lease_ms // 10))


# ---- events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """The record was read, with its leader's sign.

    Attributes:
        sign: different for every epoch and every renewal; None: nobody leads.
        began_ms: from before they were read: the sign may have changed since.
        lease_ms: the lease of that leader.
    """

    sign: str | None
    began_ms: int
    lease_ms: int = 0


@dataclass(frozen=True, slots=True)
class Claimed:
    """The record is ours under a new epoch; `began_ms` is from before it was replaced."""

    epoch: int
    began_ms: int


@dataclass(frozen=True, slots=True)
class ClaimRefused:
    """Another contender was faster, or the record could not be replaced."""


@dataclass(frozen=True, slots=True)
class Renewed:
    """Our sign was changed while the record was still ours; `began_ms` is from before that."""

    began_ms: int


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """The services did not answer; the lease runs on."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """The record belongs to another epoch."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


Event: TypeAlias = Seen | Claimed | ClaimRefused | Renewed | RenewalFailed | Superseded | Tick


# ---- actions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Look:
    """Read the record and the sign; `Seen` follows."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Replace the record that was seen; `Claimed` or `ClaimRefused` follows."""


@dataclass(frozen=True, slots=True)
class Renew:
    """Change the sign and see whose record it is; `Renewed`, `RenewalFailed` or `Superseded` follows."""


@dataclass(frozen=True, slots=True)
class Lead:
    """This process leads from now on."""

    epoch: int


@dataclass(frozen=True, slots=True)
class StepDown:
    """This process leads no more; `reason` is for the user."""

    reason: str


Action: TypeAlias = Look | Claim | Renew | Lead | StepDown


class Role(enum.Enum):
    """What a contender is."""

    STANDBY = "watches the leader"
    CLAIMING = "tries to become the leader"
    LEADING = "leads"
    DEPOSED = "has led"


class Leadership:
    """Decides for one contender; never reads a clock, never waits."""

    def __init__(self, terms: LeaseTerms) -> None:
        self._terms = terms
        self._role = Role.STANDBY
        self._epoch = 0
        self._sign: str | None = None
        self._same_since_ms = 0
        self._valid_until_ms = 0
        self._next_ms = 0
        self._asked = False  # a look, a claim or a renewal is under way

    # ---- questions ----------------------------------------------------------------------------------------------------

    @property
    def role(self) -> Role:
        """What this contender is now."""
        return self._role

    @property
    def epoch(self) -> int:
        """Under which this contender leads or has led; 0 before."""
        return self._epoch

    def may_act(self, now_ms: int) -> bool:
        """Whether no other contender can be leading at this moment."""
        return self._role is Role.LEADING and now_ms < self._valid_until_ms

    def next_deadline_ms(self) -> int | None:
        """When the next `Tick` is due (monotonic); None: never, or only once what was asked for is answered."""
        if self._role is Role.LEADING:
            return self._valid_until_ms if self._asked else min(self._next_ms, self._valid_until_ms)
        return None if self._asked or self._role is Role.DEPOSED else self._next_ms

    # ---- events -------------------------------------------------------------------------------------------------------

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        """What to do now, in order.

        Raises:
            ProtocolViolation: an answer to what was not asked for.
        """
        match event:
            case Tick():
                return self._on_tick(now_ms)
            case Seen():
                self._answered(Role.STANDBY, event)
                return self._on_seen(event, now_ms)
            case Claimed(epoch=epoch, began_ms=began_ms):
                self._answered(Role.CLAIMING, event)
                return self._on_claimed(epoch, began_ms, now_ms)
            case ClaimRefused():
                self._answered(Role.CLAIMING, event)
                self._watch(now_ms)
                return []
            case Renewed() | RenewalFailed() | Superseded():
                if self._role is Role.DEPOSED:  # the lease ran out meanwhile
                    return []
                self._answered(Role.LEADING, event)
                return self._on_renewal(event, now_ms)
            case _:
                assert_never(event)

    def _on_tick(self, now_ms: int) -> list[Action]:
        if self._role is Role.LEADING and now_ms >= self._valid_until_ms:
            return self._lapse()
        if self._asked or self._role is Role.DEPOSED or now_ms < self._next_ms:
            return []
        self._asked = True
        return [Renew() if self._role is Role.LEADING else Look()]

    def _on_seen(self, seen: Seen, now_ms: int) -> list[Action]:
        if seen.sign is not None and seen.sign != self._sign:
            self._sign, self._same_since_ms = seen.sign, now_ms
        if seen.sign is not None and seen.began_ms - self._same_since_ms < seen.lease_ms:
            self._next_ms = now_ms + self._terms.look_ms
            return []
        self._role = Role.CLAIMING
        self._asked = True
        return [Claim()]

    def _on_claimed(self, epoch: int, began_ms: int, now_ms: int) -> list[Action]:
        valid_until_ms = began_ms + self._terms.lease_ms - self._terms.margin_ms
        if now_ms >= valid_until_ms:  # it took a whole lease: others may think us dead already
            self._watch(now_ms)
            return []
        self._role, self._epoch = Role.LEADING, epoch
        self._valid_until_ms = valid_until_ms
        self._next_ms = now_ms  # the sign of this epoch is still to be made
        return [Lead(epoch)]

    def _on_renewal(self, event: Renewed | RenewalFailed | Superseded, now_ms: int) -> list[Action]:
        if isinstance(event, Superseded):
            self._role = Role.DEPOSED
            return [StepDown(f"another job manager leads, under epoch {event.epoch}")]
        if now_ms >= self._valid_until_ms:
            return self._lapse()
        if isinstance(event, Renewed):
            lease_ms = self._terms.lease_ms - self._terms.margin_ms
            self._valid_until_ms = max(self._valid_until_ms, event.began_ms + lease_ms)
            self._next_ms = event.began_ms + self._terms.renew_ms
        else:
            self._next_ms = now_ms + self._terms.look_ms
        return []

    def _lapse(self) -> list[Action]:
        self._role = Role.DEPOSED
        return [
            StepDown(
                f"it could show no sign of life for {self._terms.lease_ms - self._terms.margin_ms} ms, so that another"
                " job manager may lead"
            )
        ]

    def _watch(self, now_ms: int) -> None:
        self._role, self._sign, self._next_ms = Role.STANDBY, None, now_ms + self._terms.look_ms

    def _answered(self, role: Role, event: Event) -> None:
        if self._role is not role or not self._asked:
            raise ProtocolViolation(f"{event} while this contender {self._role.value}", where="leadership")
        self._asked = False
