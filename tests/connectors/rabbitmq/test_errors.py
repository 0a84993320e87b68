"""Which answers of a broker another attempt may change."""

from __future__ import annotations

import pytest
from pika import exceptions

from millstream.connectors.rabbitmq.errors import is_final

DOWN = "NOT_FOUND - home node 'rabbit@a' of durable queue 'q' in vhost '/' is down or inaccessible"
STOPPED = "NOT_FOUND - queue 'q' in vhost '/' process is stopped by supervisor"
LATE = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out"
REFUSED = "ConnectionClosedByBroker: (403) 'ACCESS_REFUSED - Login was refused'"


@pytest.mark.parametrize(
    ("error", "at_first", "later"),
    [
        (exceptions.ChannelClosedByBroker(404, "NOT_FOUND - no queue 'q' in vhost '/'"), True, True),
        (exceptions.ChannelClosedByBroker(404, DOWN), False, False),
        (exceptions.ChannelClosedByBroker(404, STOPPED), False, False),
        (exceptions.ChannelClosedByBroker(406, "PRECONDITION_FAILED - inequivalent arg"), True, True),
        (exceptions.ChannelClosedByBroker(406, LATE), False, False),
        (exceptions.ChannelClosedByBroker(403, "ACCESS_REFUSED - access to queue refused"), True, True),
        (exceptions.ProbableAuthenticationError(REFUSED), True, False),
        (exceptions.ProbableAuthenticationError("ConnectionResetError"), False, False),
        (exceptions.ConnectionClosedByBroker(320, "CONNECTION_FORCED"), False, False),
        (None, False, False),
    ],
    ids=repr,
)
def test_what_is_tried_again(error: Exception | None, at_first: bool, later: bool) -> None:
    assert is_final(error) is at_first
    assert is_final(error, logged_in_before=True) is later
