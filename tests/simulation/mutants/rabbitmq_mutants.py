"""Bugs of the RabbitMQ source planted on purpose: the simulation proves its worth by catching every one of them."""

from __future__ import annotations

from typing import Any

from millstream.connectors.rabbitmq.ledger import Ledger
from millstream.connectors.rabbitmq.message import Delivery
from millstream.connectors.rabbitmq.questions import Answer
from millstream.connectors.rabbitmq.reader import RabbitMQSourceReader


class AcknowledgesWhatNoCheckpointCovers(RabbitMQSourceReader):
    """Takes what was emitted since the snapshot for covered too."""

    class ledger_type(Ledger):  # noqa: N801 (it takes the place of an attribute)
        def complete(self, checkpoint_id: int) -> tuple[int, list[int]] | None:
            self._by_checkpoint.setdefault(checkpoint_id, []).extend(self._pending)
            self._pending = []
            return super().complete(checkpoint_id)


class AsksNobody(RabbitMQSourceReader):
    """Takes what is not in its own ledger for new."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._asks = False


class ForgetsIdsOnceAcknowledged(RabbitMQSourceReader):
    """Takes an acknowledgement that was sent for one that is certain."""

    class ledger_type(Ledger):  # noqa: N801
        def complete(self, checkpoint_id: int) -> tuple[int, list[int]] | None:
            acknowledged = super().complete(checkpoint_id)
            for owed in self._unproven.values():
                for one in owed:
                    if one.id is not None and not one.foreign:
                        self._ids.pop(one.id, None)
            self._unproven.clear()
            return acknowledged


class ForgetsIdsAfterTheRoundTrip(RabbitMQSourceReader):
    """Does not give the broker the time to write."""

    class ledger_type(Ledger):  # noqa: N801
        def round_trip_done(self, number: int, monotonic_ms: int) -> None:
            super().round_trip_done(number, monotonic_ms - 2_000)


class TrustsTheFlagAfterACrash(RabbitMQSourceReader):
    """Takes a delivery without the flag for a first one, always."""

    def _notice_connection(self) -> None:
        super()._notice_connection()
        self._doubtful = 0


class ForgetsWhatItWasAskedFor(RabbitMQSourceReader):
    """Emits what lay in the socket of a connection that was lost, though a sibling has emitted it since."""

    def _reply(self, question: int, ids: list[str]) -> None:
        super()._reply(question, ids)
        self._disowned.clear()


class KeepsWhatItHeldOverALostConnection(RabbitMQSourceReader):
    """Emits what an answer frees, though the broker has given it to somebody else meanwhile."""

    def _notice_connection(self) -> None:
        held, asked = dict(self._held), dict(self._asked)
        super()._notice_connection()
        self._held.update(held)
        self._asked.update(asked)


class TakesLaterForNever(RabbitMQSourceReader):
    """Emits what a sibling is about to emit."""

    def _on_answer(self, answer: Answer) -> None:
        super()._on_answer(Answer(answer.number, answer.known, []))


class LosesTheUncertainOnes(RabbitMQSourceReader):
    """Forgets all ids when the connection is lost."""

    class ledger_type(Ledger):  # noqa: N801
        def connection_lost(self, now_ms: int) -> None:
            super().connection_lost(now_ms)
            self._ids.clear()


class NeverAcknowledgesDuplicates(RabbitMQSourceReader):
    """Drops them, so that they fill the prefetch window."""

    def _is_new(self, delivery: Delivery) -> bool:
        if delivery.properties.correlation_id in self._ledger:
            return False
        return super()._is_new(delivery)


READERS = (
    AcknowledgesWhatNoCheckpointCovers,
    AsksNobody,
    ForgetsIdsOnceAcknowledged,
    ForgetsIdsAfterTheRoundTrip,
    TrustsTheFlagAfterACrash,
    ForgetsWhatItWasAskedFor,
    KeepsWhatItHeldOverALostConnection,
    TakesLaterForNever,
    LosesTheUncertainOnes,
    NeverAcknowledgesDuplicates,
)
