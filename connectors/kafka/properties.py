"""The properties of a Kafka client: which are ours, which are librdkafka's, and what they are called in kafka-python.

Properties are written as in Flink and Kafka's own clients; librdkafka shares most names. A few names of the Java client that
librdkafka lacks are answered with the one it has.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from ...core.arguments import check_instance, check_text
from ...core.errors import ConfigurationError

BOOTSTRAP_TIMEOUT_MS: Final = "bootstrap.timeout.ms"
"""Ours: how long to wait for the first answer of a broker. Milliseconds, 30 s by default."""

DEFAULT_BOOTSTRAP_TIMEOUT_MS: Final = 30_000

CONNECT_QUICKLY: Final[Mapping[str, Any]] = {
    # librdkafka's first connection often waits for one backoff: a transactional producer was initialised in 20 ms
    # instead of 60 to 500 (one broker, same host). The longest pause while brokers are away is 1 s instead of 10.
    "reconnect.backoff.ms": 20,
    "reconnect.backoff.max.ms": 1_000,
    # A broker that has just come back may answer before it knows its partitions; what it said then would count for five minutes.
    "topic.metadata.refresh.interval.ms": 10_000,
}

_JAVA_NAMES: Final = {
    "sasl.jaas.config": "sasl.username and sasl.password",
    "ssl.truststore.location": "ssl.ca.location (PEM)",
    "ssl.truststore.password": "ssl.ca.location (PEM, needs no password)",
    "max.request.size": "message.max.bytes",
    "buffer.memory": "queue.buffering.max.kbytes",
    "max.poll.records": "nothing: the engine decides how many records it takes at once",
    "key.serializer": "set_key_serialization_schema",
    "value.serializer": "set_value_serialization_schema",
    "key.deserializer": "set_deserializer",
    "value.deserializer": "set_value_only_deserializer",
}


def parse_ms(properties: Mapping[str, Any], name: str, default: int) -> int:
    """A duration of `properties` in ms.

    Raises:
        ConfigurationError: it is not a whole number.
    """
    value = properties.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ConfigurationError(
            f"the Kafka property {name} is {value!r}, not a number of milliseconds",
            fix=f"for example {name}={default}",
        ) from None


def checked_property(key: Any, value: Any) -> dict[str, Any]:
    """The property, to be added to others.

    Raises:
        JobDefinitionError: its name is no string, or its value neither text, number, truth value nor function.
    """
    check_text("name of a Kafka property", key, fix="give for example 'fetch.min.bytes'")
    if not callable(value):  # librdkafka takes callbacks
        check_instance(
            f"value of the Kafka property {key}", value, (str, int, float), fix="give a text or a number"
        )
    return {key: value}


def checked_properties(properties: Any) -> dict[str, Any]:
    """A copy of several.

    Raises:
        JobDefinitionError: not a mapping, or as `checked_property`.
    """
    check_instance("Kafka properties", properties, Mapping, fix="give a dict of names and values")
    for key, value in properties.items():
        checked_property(key, value)
    return dict(properties)


def client_properties(properties: Mapping[str, Any], *, ours: frozenset[str]) -> dict[str, Any]:
    """`properties` for librdkafka: without `ours`, and with values as it takes them.

    Raises:
        ConfigurationError: a name of the Java client that librdkafka does not have.
    """
    for name in properties:
        if name in _JAVA_NAMES:
            raise ConfigurationError(
                f"the Kafka property {name} exists in the Java client only",
                fix=f"use {_JAVA_NAMES[name]} instead",
            )
    return {name: value for name, value in properties.items() if name not in ours}


def is_true(value: Any) -> bool:
    """Whether a property is set to true, as text or as a bool."""
    return str(value).strip().lower() == "true"


_RENAMED: Final[dict[str, tuple[str, Callable[[Any], Any]]]] = {
    "bootstrap.servers": ("bootstrap_servers", lambda v: str(v).replace(" ", "").split(",")),
    "metadata.broker.list": ("bootstrap_servers", lambda v: str(v).replace(" ", "").split(",")),
    "client.id": ("client_id", str),
    "security.protocol": ("security_protocol", lambda v: str(v).upper()),
    "sasl.mechanism": ("sasl_mechanism", lambda v: str(v).upper()),
    "sasl.mechanisms": ("sasl_mechanism", lambda v: str(v).upper()),
    "sasl.username": ("sasl_plain_username", str),
    "sasl.password": ("sasl_plain_password", str),
    "sasl.kerberos.service.name": ("sasl_kerberos_service_name", str),
    "ssl.ca.location": ("ssl_cafile", str),
    "ssl.certificate.location": ("ssl_certfile", str),
    "ssl.key.location": ("ssl_keyfile", str),
    "ssl.key.password": ("ssl_password", str),
    "ssl.crl.location": ("ssl_crlfile", str),
    "ssl.endpoint.identification.algorithm": ("ssl_check_hostname", lambda v: str(v).lower() != "none"),
}

# Ways to hand over credentials that librdkafka knows and kafka-python does not, and what does work for both.
_ONLY_LIBRDKAFKA: Final = {
    "ssl.ca.pem": "ssl.ca.location",
    "ssl.certificate.pem": "ssl.certificate.location",
    "ssl.key.pem": "ssl.key.location",
    "ssl.keystore.location": "ssl.certificate.location and ssl.key.location",
    "ssl.engine.location": "ssl.key.location",
    "sasl.oauthbearer.config": "another sasl.mechanism",
    "oauth_cb": "another sasl.mechanism",
}


def kafka_python_config(properties: Mapping[str, Any]) -> dict[str, Any]:
    """The connection settings of `properties` (librdkafka's names) for kafka-python: addresses, TLS and SASL.

    kafka-python sends the few requests that librdkafka lacks, to the same brokers with the same credentials.

    Raises:
        ConfigurationError: credentials given in a way that kafka-python cannot use.

    >>> kafka_python_config({"bootstrap.servers": "a:9092,b:9092", "security.protocol": "ssl", "linger.ms": 5})
    {'bootstrap_servers': ['a:9092', 'b:9092'], 'security_protocol': 'SSL'}
    """
    for name, instead in _ONLY_LIBRDKAFKA.items():
        if name in properties:
            raise ConfigurationError(
                f"the Kafka property {name} cannot be used with exactly-once delivery, which needs kafka-python",
                fix=f"use {instead}",
            )
    config = {}
    for name, value in properties.items():
        if name in _RENAMED:
            new_name, convert = _RENAMED[name]
            config[new_name] = convert(value)
    if "enable.ssl.certificate.verification" in properties and not is_true(
        properties["enable.ssl.certificate.verification"]
    ):
        config["ssl_context"] = _unverified_context(config)
    return config


def _unverified_context(config: Mapping[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if "ssl_certfile" in config:
        context.load_cert_chain(config["ssl_certfile"], config.get("ssl_keyfile"), config.get("ssl_password"))
    return context
