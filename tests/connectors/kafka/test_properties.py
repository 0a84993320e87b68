from __future__ import annotations

import ssl
from typing import Any

import pytest

from millstream.connectors.kafka.properties import client_properties, kafka_python_config, parse_ms
from millstream.core.errors import ConfigurationError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"bootstrap.servers": "a:1, b:2"}, {"bootstrap_servers": ["a:1", "b:2"]}),
        ({"security.protocol": "sasl_ssl"}, {"security_protocol": "SASL_SSL"}),
        ({"sasl.mechanism": "plain"}, {"sasl_mechanism": "PLAIN"}),
        ({"sasl.mechanisms": "SCRAM-SHA-512"}, {"sasl_mechanism": "SCRAM-SHA-512"}),
        (
            {"sasl.username": "u", "sasl.password": "p"},
            {"sasl_plain_username": "u", "sasl_plain_password": "p"},
        ),
        ({"sasl.kerberos.service.name": "k"}, {"sasl_kerberos_service_name": "k"}),
        (
            {
                "ssl.ca.location": "ca.pem",
                "ssl.certificate.location": "cert.pem",
                "ssl.key.location": "key.pem",
                "ssl.key.password": "secret",
                "ssl.crl.location": "crl.pem",
            },
            {
                "ssl_cafile": "ca.pem",
                "ssl_certfile": "cert.pem",
                "ssl_keyfile": "key.pem",
                "ssl_password": "secret",
                "ssl_crlfile": "crl.pem",
            },
        ),
        ({"ssl.endpoint.identification.algorithm": "none"}, {"ssl_check_hostname": False}),
        ({"ssl.endpoint.identification.algorithm": "https"}, {"ssl_check_hostname": True}),
        ({"client.id": "me"}, {"client_id": "me"}),
        ({"linger.ms": 5, "acks": "all", "transaction.timeout.ms": 7}, {}),
        ({"enable.ssl.certificate.verification": "true"}, {}),
    ],
)
def test_connection_settings_are_carried_over_to_kafka_python(
    given: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert kafka_python_config(given) == expected


def test_kafka_python_knows_every_setting_that_is_carried_over() -> None:
    kafka = pytest.importorskip("millstream.connectors.kafka.kafka_python")
    kafka.load()
    from kafka import KafkaAdminClient

    everything = {
        "bootstrap.servers": "a:1",
        "client.id": "c",
        "security.protocol": "SSL",
        "sasl.mechanism": "PLAIN",
        "sasl.username": "u",
        "sasl.password": "p",
        "sasl.kerberos.service.name": "k",
        "ssl.ca.location": "a",
        "ssl.certificate.location": "b",
        "ssl.key.location": "c",
        "ssl.key.password": "d",
        "ssl.crl.location": "e",
        "ssl.endpoint.identification.algorithm": "none",
    }
    assert set(kafka_python_config(everything)) <= set(KafkaAdminClient.DEFAULT_CONFIG)


@pytest.mark.parametrize("value", ["false", False])
def test_certificates_are_not_verified_where_the_user_says_so(value: Any) -> None:
    context = kafka_python_config({"enable.ssl.certificate.verification": value})["ssl_context"]
    assert context.verify_mode is ssl.CERT_NONE


@pytest.mark.parametrize(
    "name", ["ssl.ca.pem", "ssl.keystore.location", "sasl.oauthbearer.config", "oauth_cb"]
)
def test_credentials_that_kafka_python_cannot_use_are_refused_with_what_works(name: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        kafka_python_config({name: "x"})
    assert "use" in caught.value.fix


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("sasl.jaas.config", "sasl.username"),
        ("ssl.truststore.location", "ssl.ca.location"),
        ("max.request.size", "message.max.bytes"),
    ],
)
def test_names_of_the_java_client_are_answered_with_librdkafkas(name: str, instead: str) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        client_properties({name: "x"}, ours=frozenset())
    assert instead in caught.value.fix


def test_our_own_properties_do_not_reach_librdkafka() -> None:
    assert client_properties({"linger.ms": 1, "mine": 2}, ours=frozenset({"mine"})) == {"linger.ms": 1}


def test_a_duration_that_is_none_is_refused() -> None:
    assert parse_ms({"x.ms": "25"}, "x.ms", 1) == 25
    assert parse_ms({}, "x.ms", 1) == 1
    with pytest.raises(ConfigurationError, match=r"x\.ms"):
        parse_ms({"x.ms": "soon"}, "x.ms", 1)
