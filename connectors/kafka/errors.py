"""What librdkafka and kafka-python report, as errors that say what, where and what to do."""

from __future__ import annotations

from typing import Any, Final

from ...core.errors import ConfigurationError, ConnectorError, MissingDependencyError

# Names of librdkafka's error codes (KafkaError.name()), which do not change between releases as texts do.
_UNREACHABLE: Final = {"_TRANSPORT", "_ALL_BROKERS_DOWN", "_TIMED_OUT", "_RESOLVE", "_TIMED_OUT_QUEUE"}
_FIXES: Final = {
    "_AUTHENTICATION": "check sasl.mechanism, sasl.username, sasl.password and security.protocol",
    "SASL_AUTHENTICATION_FAILED": "check sasl.mechanism, sasl.username and sasl.password",
    "_SSL": "check security.protocol and the ssl.* properties",
    "TOPIC_AUTHORIZATION_FAILED": "grant the principal READ (source) or WRITE (sink) and DESCRIBE on the topic",
    "GROUP_AUTHORIZATION_FAILED": "grant the principal READ on the consumer group",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED": "grant the principal WRITE and DESCRIBE on the transactional ids "
    "that begin with the sink's prefix",
    "CLUSTER_AUTHORIZATION_FAILED": "grant the principal IDEMPOTENT_WRITE on the cluster",
    "UNKNOWN_TOPIC_OR_PART": "create the topic, or correct its name",
    "_UNKNOWN_TOPIC": "create the topic, or correct its name",
    "_UNKNOWN_PARTITION": "check the number of partitions of the topic",
    "MSG_SIZE_TOO_LARGE": "raise message.max.bytes of the sink and max.message.bytes of the topic, or write "
    "smaller records",
    "RECORD_LIST_TOO_LARGE": "lower batch.size of the sink or raise max.message.bytes of the topic",
    "INVALID_TRANSACTION_TIMEOUT": "lower transaction.timeout.ms of the sink, or raise "
    "transaction.max.timeout.ms of the brokers (15 minutes by default)",
    "_FENCED": "another producer uses the same transactional id: give every sink of every running job its own "
    "transactional id prefix",
    "_MSG_TIMED_OUT": "check that the brokers are up and reachable; raise delivery.timeout.ms to wait longer",
}
_FOR_GOOD: Final = {
    "TOPIC_AUTHORIZATION_FAILED",
    "GROUP_AUTHORIZATION_FAILED",
    "TRANSACTIONAL_ID_AUTHORIZATION_FAILED",
    "CLUSTER_AUTHORIZATION_FAILED",
    "UNKNOWN_TOPIC_OR_PART",
    "_UNKNOWN_TOPIC",
    "MSG_SIZE_TOO_LARGE",
    "INVALID_TRANSACTION_TIMEOUT",
    "_AUTHENTICATION",
    "SASL_AUTHENTICATION_FAILED",
    "_SSL",
}


def kafka_error_of(error: Any) -> Any:
    """The `confluent_kafka.KafkaError` in a `KafkaException`, or `error` itself if it is one already."""
    return error.args[0] if isinstance(error, Exception) else error


def connector_error(
    error: Any, *, doing: str, bootstrap_servers: str, where: str | None = None
) -> ConnectorError:
    """A `ConnectorError` for what librdkafka reported.

    Args:
        error: a `KafkaException` or `KafkaError`.
        doing: what failed, e.g. "writing to topic 'orders'".
        bootstrap_servers: the address used, named when the brokers cannot be reached.
        where: topic, partition, transaction.
    """
    reported = kafka_error_of(error)
    name = reported.name()
    if name in _UNREACHABLE:
        return unreachable(bootstrap_servers, doing=doing, reason=reported.str())
    return ConnectorError(
        f"Kafka: {doing} failed: {reported.str()} ({name})",
        where=where or f"bootstrap.servers={bootstrap_servers}",
        fix=_FIXES.get(name),
        retryable=name not in _FOR_GOOD,
    )


def unreachable(bootstrap_servers: str, *, doing: str, reason: str) -> ConnectorError:
    """No broker answered in time."""
    return ConnectorError(
        f"Kafka: no broker answered while {doing}: {reason}",
        where=f"bootstrap.servers={bootstrap_servers}",
        fix="check that the brokers run, that the address and port are right (also the brokers' advertised.listeners), "
        "and security.protocol; bootstrap.timeout.ms sets how long to wait",
        retryable=True,
    )


def invalid_property(error: Any, *, of: str) -> ConfigurationError:
    """librdkafka does not know a property, or does not take its value."""
    return ConfigurationError(
        f"{kafka_error_of(error).str()} in the Kafka properties of {of}",
        fix="property names are those of librdkafka (most are the same as in Java)",
    )


def missing(package: str, needed_for: str) -> MissingDependencyError:
    """`package` (`confluent-kafka` or `kafka-python`) is not installed."""
    return MissingDependencyError(package, "kafka", needed_for=needed_for)
