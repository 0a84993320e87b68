"""Declaring a queue that may exist already, with whatever properties."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from ...core.errors import JobDefinitionError

QUEUE_TYPES: Final = ("classic", "quorum")
_NOT_FOUND: Final = 404


def check_queue_type(queue_type: str) -> None:
    """Nothing, if queues may be declared of that type.

    Raises:
        JobDefinitionError: they may not.
    """
    if queue_type not in QUEUE_TYPES:
        raise JobDefinitionError(
            f"the type of a queue is one of {', '.join(QUEUE_TYPES)}, not {queue_type!r}",
            fix="call set_queue_type('quorum')",
        )


def ensure_queue(channel: Any, queue: str, queue_type: str | None, ready: Callable[[], None]) -> None:
    """Call `ready` once there is the queue: as it is, or else declared durable. In the connection's thread.

    A passive declaration of a queue that is missing closes its channel, so it is made on a channel of its own. What goes wrong closes
    `channel`, or its connection.
    """
    arguments = {} if queue_type is None else {"x-queue-type": queue_type}

    def declare() -> None:
        channel.queue_declare(queue, durable=True, arguments=arguments, callback=lambda _: ready())

    def on_probe(probe: Any) -> None:
        def found(_: Any) -> None:
            probe.close()
            ready()

        def closed(_: Any, reason: Any) -> None:
            if getattr(reason, "reply_code", None) == _NOT_FOUND and channel.is_open:
                declare()
            elif (
                getattr(reason, "reply_code", 0) > 299 and channel.is_open
            ):  # refused: ask on the channel, which is closed for it
                channel.queue_declare(queue, passive=True, callback=lambda _: ready())

        probe.add_on_close_callback(closed)
        probe.queue_declare(queue, passive=True, callback=found)

    channel.connection.channel(on_open_callback=on_probe)
