"""Whether a sibling has emitted a message already: what readers ask each other by way of the enumerator. Pure.

reader --Ask--> enumerator --Asked--> every other reader --Reply--> enumerator --Answer--> reader
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class Ask(msgspec.Struct, frozen=True, tag=True):
    """Who holds these ids? `number` counts the questions of a reader."""

    number: int
    ids: list[str]


class Asked(msgspec.Struct, frozen=True, tag=True):
    """The same, passed on to another reader. `question` counts those of the enumerator."""

    question: int
    ids: list[str]


class Reply(msgspec.Struct, frozen=True, tag=True):
    """What one reader holds.

    Attributes:
        known: of the ids asked for, those in its ledger.
        covered_from: checkpoints from this one on cover what it emitted.
        later: those it is about to emit: ask again.
    """

    question: int
    known: list[str]
    covered_from: int
    later: list[str]


class Answer(msgspec.Struct, frozen=True, tag=True):
    """What all of them hold: by id, from which checkpoint on its record is covered; `later`: ask for these again."""

    number: int
    known: dict[str, int]
    later: list[str]


class Settled(msgspec.Struct, frozen=True, tag=True):
    """These were acknowledged for certain by a reader that found them to be duplicates."""

    ids: list[str]


class Done(msgspec.Struct, frozen=True, tag=True):
    """This reader has read its share."""


class Finish(msgspec.Struct, frozen=True, tag=True):
    """All have: nothing will be read any more, so no ledger is needed."""


Event = Ask | Asked | Reply | Answer | Settled | Done | Finish
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Event] = msgspec.msgpack.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """For `send_source_event` and `send_event_to_reader`."""
    return _ENCODER.encode(event)


def decode_event(data: bytes) -> Event:
    """The inverse."""
    return _DECODER.decode(data)


@dataclass(slots=True)
class _Question:
    asker: int
    number: int
    ids: list[str]
    waiting: set[int]
    known: dict[str, int] = field(default_factory=dict)
    later: set[str] = field(default_factory=set)


class Questions:
    """The enumerator's part: passes questions on and gathers the replies.

    An id is under one question at a time: two readers that hold the same message (one of them over a connection that is lost
    without its knowing) would both be told that nobody has emitted it.
    """

    def __init__(self, parallelism: int) -> None:
        self._parallelism = parallelism
        self._readers: set[int] = set()
        self._early: list[tuple[int, Ask]] = []
        self._open: dict[int, _Question] = {}
        self._asked_by: dict[str, int] = {}  # the question that an id is under
        self._last = 0
        self._done: set[int] = set()

    def add_reader(self, subtask: int) -> list[tuple[int, Event]]:
        """It runs and has its ledger. Gives what is to be sent, and to whom: questions wait for the last reader."""
        self._readers.add(subtask)
        if len(self._readers) < self._parallelism:
            return []
        early, self._early = self._early, []
        return [sent for asker, ask in early for sent in self._ask(asker, ask)]

    def handle(self, subtask: int, event: Event) -> list[tuple[int, Event]]:
        """An event of a reader. Gives what is to be sent, and to whom."""
        match event:
            case Ask():
                if len(self._readers) < self._parallelism:
                    self._early.append((subtask, event))
                    return []
                return self._ask(subtask, event)
            case Reply():
                return self._reply(subtask, event)
            case Settled():
                return [(other, event) for other in self._others(subtask)]
            case Done():
                self._done.add(subtask)
                everyone = range(self._parallelism) if len(self._done) == self._parallelism else ()
                return [(reader, Finish()) for reader in everyone]
            case Asked() | Answer() | Finish():
                message = f"a reader does not send {type(event).__name__}"
                raise AssertionError(message)

    def _others(self, subtask: int) -> list[int]:
        return [other for other in range(self._parallelism) if other != subtask]

    def _ask(self, asker: int, ask: Ask) -> list[tuple[int, Event]]:
        free = [id_ for id_ in ask.ids if id_ not in self._asked_by]
        busy = {id_ for id_ in ask.ids if id_ in self._asked_by}
        others = self._others(asker)
        if not free or not others:
            return [(asker, Answer(ask.number, {}, sorted(busy)))]
        self._last += 1
        self._open[self._last] = _Question(asker, ask.number, free, set(others), later=busy)
        self._asked_by.update(dict.fromkeys(free, self._last))
        return [(other, Asked(self._last, free)) for other in others]

    def _reply(self, subtask: int, reply: Reply) -> list[tuple[int, Event]]:
        question = self._open[reply.question]
        question.waiting.discard(subtask)
        question.later.update(reply.later)
        for id_ in reply.known:
            question.known[id_] = max(reply.covered_from, question.known.get(id_, 0))
        if question.waiting:
            return []
        del self._open[reply.question]
        for id_ in question.ids:
            del self._asked_by[id_]
        later = sorted(question.later - question.known.keys())
        return [(question.asker, Answer(question.number, question.known, later))]
