"""`RMQConnectionConfig`: PyFlink's names, what it refuses, and that the password is shown nowhere."""

from __future__ import annotations

import pickle
import ssl
from pathlib import Path
from typing import Any

import pytest

from millstream.connectors.rabbitmq import RMQConnectionConfig
from millstream.connectors.rabbitmq.connection_config import connection_parameters
from millstream.core.errors import ConfigurationError, JobDefinitionError, MillstreamError

pytest.importorskip("pika")
SECRET = "s3cr/t"


def builder() -> Any:
    return RMQConnectionConfig.Builder()


def test_every_setter_is_found_again() -> None:
    config = (
        builder()
        .set_host("broker")
        .set_port(1234)
        .set_virtual_host("v")
        .set_user_name("me")
        .set_password(SECRET)
        .set_network_recovery_interval(70)
        .set_automatic_recovery(False)
        .set_topology_recovery_enabled(False)
        .set_connection_timeout(2500)
        .set_requested_channel_max(7)
        .set_requested_frame_max(8192)
        .set_requested_heartbeat(9)
        .set_prefetch_count(10)
        .set_connection_retry_timeout(11)
        .build()
    )
    assert (config.get_host(), config.get_port(), config.get_virtual_host()) == ("broker", 1234, "v")
    assert (config.get_user_name(), config.get_password(), config.get_uri()) == ("me", SECRET, None)
    assert (config.get_network_recovery_interval(), config.is_automatic_recovery()) == (70, False)
    assert (config.is_topology_recovery(), config.get_connection_timeout()) == (False, 2500)
    assert (config.get_requested_channel_max(), config.get_requested_frame_max()) == (7, 8192)
    assert (config.get_requested_heartbeat(), config.get_prefetch_count()) == (9, 10)
    assert pickle.loads(pickle.dumps(config)) == config
    parameters = connection_parameters(config, name="n")
    assert (parameters.host, parameters.port, parameters.virtual_host) == ("broker", 1234, "v")
    assert (parameters.credentials.username, parameters.credentials.password) == ("me", SECRET)
    assert (parameters.channel_max, parameters.frame_max, parameters.heartbeat) == (7, 8192, 9)
    assert (parameters.socket_timeout, parameters.stack_timeout) == (2.5, 2.5)
    assert parameters.ssl_options is None


def test_a_uri_holds_everything() -> None:
    config = builder().set_uri("amqp://me:s3cr%2Ft@broker:1234/a%2Fb").build()
    assert config.address == "broker:1234, virtual host a/b"
    assert (config.user_name, config.password) == ("me", SECRET)
    plain = builder().set_uri("amqp://broker").build()
    assert (plain.address, plain.user_name) == ("broker:5672, virtual host /", "guest")


def test_amqps_and_set_ssl_connect_over_tls_and_verify_the_broker() -> None:
    for config in (
        builder().set_uri("amqps://broker").build(),
        builder().set_host("broker").set_ssl().build(),
    ):
        parameters = connection_parameters(config, name="n")
        assert parameters.port == 5671
        assert parameters.ssl_options.context.verify_mode == ssl.CERT_REQUIRED
        assert parameters.ssl_options.context.check_hostname
        assert parameters.ssl_options.server_hostname == "broker"


def test_a_file_for_tls_that_is_missing_is_named(tmp_path: Path) -> None:
    config = builder().set_host("broker").set_ssl(ca=str(tmp_path / "ca.pem")).build()
    with pytest.raises(ConfigurationError, match=r"(?s)TLS.*ca\.pem"):
        connection_parameters(config, name="n")


def test_the_password_is_shown_nowhere() -> None:
    by_uri = builder().set_uri("amqp://me:s3cr%2Ft@broker").build()
    by_setter = builder().set_host("broker").set_password(SECRET).build()
    for config in (by_uri, by_setter):
        shown = repr(config) + str(config) + config.address + repr(connection_parameters(config, name="n"))
        assert SECRET not in shown
        assert "s3cr%2Ft" not in shown


@pytest.mark.parametrize(
    "uri",
    [
        "http://me:s3cr3t@broker",
        "amqp://me:s3cr3t@broker:port",
        "amqp://me:s3cr3t@",
        "amqp://me:s3cr3t@broker/a/b",
        "amqp://me:s3cr3t@broker?heartbeat=3",
    ],
)
def test_a_malformed_uri_is_refused_without_being_repeated(uri: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        builder().set_uri(uri).build()
    assert "amqp://user:password@host" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "build",
    [
        lambda b: b.build(),
        lambda b: b.set_uri("amqp://broker").set_host("other").build(),
        lambda b: b.set_host(""),
        lambda b: b.set_port(0),
        lambda b: b.set_port("5672"),
        lambda b: b.set_prefetch_count(0),
        lambda b: b.set_prefetch_count(65_536),
        lambda b: b.set_requested_heartbeat(-1),
        lambda b: b.set_requested_frame_max(4095),
        lambda b: b.set_connection_timeout(0),
        lambda b: b.set_ssl(key="key.pem"),
        lambda b: b.set_password(7),
        lambda b: b.set_uri(b"amqp://"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_way_out(build: Any) -> None:
    with pytest.raises(JobDefinitionError) as refused:
        build(builder())
    assert isinstance(refused.value, MillstreamError)
    assert refused.value.fix
