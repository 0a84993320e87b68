"""`RabbitMQSource` over TLS: the broker's certificate is verified."""

from __future__ import annotations

import datetime as dt
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from millstream.connectors.rabbitmq import RMQConnectionConfig
from millstream.core.errors import ConnectorError
from millstream.dev.rabbitmq import LocalRabbitMQ
from tests.integration.rabbitmq.broker import Reading, declare, local, publish, source_of

DAY = dt.timedelta(days=1)


def certificate(subject: str, key: Any, issuer: str, issuer_key: Any, *, authority: bool) -> x509.Certificate:
    """Valid for 127.0.0.1, from yesterday until tomorrow."""
    now = dt.datetime.now(dt.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in (subject, issuer)]
    builder = x509.CertificateBuilder(names[1], names[0], key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - DAY).not_valid_after(now + DAY)
    builder = builder.add_extension(address, critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    return builder.sign(issuer_key, hashes.SHA256())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority, server = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    pem = serialization.Encoding.PEM
    ca = certificate("ca", authority, "ca", authority, authority=True)
    mine = certificate("server", server, "ca", authority, authority=False)
    (folder / "ca.pem").write_bytes(ca.public_bytes(pem))
    (folder / "server.pem").write_bytes(mine.public_bytes(pem))
    secret = server.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "server.key").write_bytes(secret)
    return folder


@pytest.fixture(scope="module")
def broker(rabbitmq: Any, certificates: Path) -> Iterator[LocalRabbitMQ]:
    local(rabbitmq)  # skips where no broker may be started
    with LocalRabbitMQ(certificates) as running:
        yield running


def test_a_queue_is_read_over_tls_from_a_broker_that_is_believed(
    broker: LocalRabbitMQ, certificates: Path
) -> None:
    queue = declare(broker)
    publish(broker, queue, range(3))
    where = RMQConnectionConfig.Builder().set_host("127.0.0.1").set_port(broker.tls_port)
    believed = where.set_ssl(ca=str(certificates / "ca.pem")).build()
    reading = Reading(source_of(broker, queue).set_connection_config(believed).build())
    assert reading.read(3) == ["0", "1", "2"]
    reading.close()
    unknown = where.set_ssl().build()
    refused = Reading(source_of(broker, queue).set_connection_config(unknown).build())
    with pytest.raises(ConnectorError, match=r"(?s)CERTIFICATE_VERIFY_FAILED.*set_ssl") as failed:
        refused.read(1)
    refused.close()
    assert not failed.value.retryable
