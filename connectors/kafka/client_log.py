"""librdkafka's own log, and the one thing in it that a user should see without asking."""

from __future__ import annotations

import logging
from typing import Any, Final

_LOG: Final = logging.getLogger("millstream.connectors.kafka")


class ClientLog:
    """Takes the log of one librdkafka client, and warns once when all brokers are away and once when they are back.

    librdkafka logs every refused connection as an error, a hundred of them a second while a broker restarts. What matters
    comes as an error of ours, so its log goes to level INFO of the logger `millstream.connectors.kafka`.
    """

    def __init__(self, who: str) -> None:
        """`who`: "source" or "sink"."""
        self._who = who
        self._away = False

    def log(self, level: int, message: str, *args: Any) -> None:
        """Called by confluent-kafka, with what a `logging.Logger` would take."""
        _LOG.log(min(level, logging.INFO), message, *args)

    def all_brokers_down(self) -> None:
        """Called for each `_ALL_BROKERS_DOWN`."""
        if not self._away:
            self._away = True
            _LOG.warning("Kafka %s: no broker can be reached; trying again until one is back", self._who)

    def working(self) -> None:
        """Called when something came or went."""
        if self._away:
            self._away = False
            _LOG.warning("Kafka %s: the brokers are back", self._who)
