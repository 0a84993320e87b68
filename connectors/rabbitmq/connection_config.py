"""How to reach RabbitMQ: `RMQConnectionConfig`, shared by source and sink, and the parameters of pika made from it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from ...core.arguments import check_int, check_text
from ...core.errors import ConfigurationError, JobDefinitionError, MissingDependencyError

DEFAULT_PREFETCH: Final = 10_000
MAX_PREFETCH: Final = 65_535
_PLAIN_PORT: Final = 5672
_TLS_PORT: Final = 5671
_DEFAULT_TIMEOUT_MS: Final = 10_000
_DEFAULT_RECOVERY_INTERVAL_MS: Final = 5_000
_DEFAULT_RETRY_MS: Final = 120_000
_FIRST_BACKOFF_MS: Final = 100
_EXAMPLE_URI: Final = "give for example 'amqp://user:password@host:5672/%2F'"


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM format for an encrypted connection.

    Attributes:
        ca: certificates of authorities to believe; None for those of the system.
        cert: the client's own certificate, and `key` its private key; None where the broker wants none.
    """

    ca: str | None = None
    cert: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class RMQConnectionConfig:
    """How to reach a broker. Made by `RMQConnectionConfig.Builder()`; immutable, and travels to the workers.

    The password is in no `repr`, log or error.

    Attributes:
        connection_timeout: in ms, for one attempt to connect.
        network_recovery_interval: in ms, the longest wait between two attempts; waits begin at 100 ms and double.
        requested_heartbeat: in seconds; None takes the broker's, 0 switches heartbeats off.
        automatic_recovery: connect again when a connection is lost, for at most `connection_retry_timeout` ms.
        prefetch_count: how many deliveries a consumer holds unacknowledged, at most.

    >>> config = RMQConnectionConfig.Builder().set_host("broker").set_password("secret").build()
    >>> config.address
    'broker:5672, virtual host /'
    """

    host: str
    port: int = _PLAIN_PORT
    virtual_host: str = "/"
    user_name: str = "guest"
    password: str = field(default="guest", repr=False)
    uri: str | None = field(default=None, repr=False)
    network_recovery_interval: int | None = None
    automatic_recovery: bool = True
    topology_recovery: bool = True
    connection_timeout: int | None = None
    requested_channel_max: int | None = None
    requested_frame_max: int | None = None
    requested_heartbeat: int | None = None
    prefetch_count: int = DEFAULT_PREFETCH
    connection_retry_timeout: int = _DEFAULT_RETRY_MS
    tls: Tls | None = None

    @property
    def address(self) -> str:
        """Host, port and virtual host, for messages."""
        return f"{self.host}:{self.port}, virtual host {self.virtual_host}"

    def get_host(self) -> str:
        """The broker's name or address."""
        return self.host

    def get_port(self) -> int:
        """5672, or 5671 with TLS, unless set."""
        return self.port

    def get_virtual_host(self) -> str:
        """`/` unless set."""
        return self.virtual_host

    def get_user_name(self) -> str:
        """`guest` unless set, who may connect from the broker's own machine alone."""
        return self.user_name

    def get_password(self) -> str:
        """The password."""
        return self.password

    def get_uri(self) -> str | None:
        """As it was set, with the password in it."""
        return self.uri

    def get_network_recovery_interval(self) -> int | None:
        """In ms; None if not set (5000)."""
        return self.network_recovery_interval

    def is_automatic_recovery(self) -> bool:
        """Whether a lost connection is opened again."""
        return self.automatic_recovery

    def is_topology_recovery(self) -> bool:
        """Whether queue and consumer are set up again on a new connection. Here they always are."""
        return self.topology_recovery

    def get_connection_timeout(self) -> int | None:
        """In ms; None if not set (10000)."""
        return self.connection_timeout

    def get_requested_channel_max(self) -> int | None:
        """None if not set."""
        return self.requested_channel_max

    def get_requested_frame_max(self) -> int | None:
        """In bytes; None if not set."""
        return self.requested_frame_max

    def get_requested_heartbeat(self) -> int | None:
        """In seconds; None if not set."""
        return self.requested_heartbeat

    def get_prefetch_count(self) -> int:
        """10000 unless set."""
        return self.prefetch_count

    class Builder:
        """Builds a `RMQConnectionConfig`; every setter returns the builder. Required: a host, or a URI."""

        def __init__(self) -> None:
            self._fields: dict[str, Any] = {}

        def set_host(self, host: str) -> RMQConnectionConfig.Builder:
            """The broker's name or address."""
            check_text("host", host, fix="give for example 'localhost'")
            return self._set("host", host)

        def set_port(self, port: int) -> RMQConnectionConfig.Builder:
            """5672, or 5671 with TLS, unless set."""
            check_int("port", port, least=1, most=65_535, fix="give for example 5672")
            return self._set("port", port)

        def set_virtual_host(self, vhost: str) -> RMQConnectionConfig.Builder:
            """`/` unless set."""
            check_text("virtual host", vhost, fix="give '/' for the one that every broker has")
            return self._set("virtual_host", vhost)

        def set_user_name(self, user_name: str) -> RMQConnectionConfig.Builder:
            """`guest` unless set."""
            check_text("user name", user_name, fix="give the name of a user of the broker")
            return self._set("user_name", user_name)

        def set_password(self, password: str) -> RMQConnectionConfig.Builder:
            """`guest` unless set."""
            given: Any = password  # the annotation is not checked at run time
            if not isinstance(given, str):
                raise JobDefinitionError(  # without the value
                    f"the password must be a string, not a {type(given).__name__}",
                    fix="give the password as text",
                )
            return self._set("password", password)

        def set_uri(self, uri: str) -> RMQConnectionConfig.Builder:
            """All of host, port, user, password and virtual host: `amqp://user:password@host:5672/vhost`; with
            `amqps://` over TLS. Names in it are percent-encoded: `/` is `%2F`."""
            given: Any = uri
            if (
                not isinstance(given, str) or not given
            ):  # the error is without the value: it may hold a password
                raise JobDefinitionError("the URI must be a string that is not empty", fix=_EXAMPLE_URI)
            return self._set("uri", uri)

        def set_ssl(
            self, ca: str | None = None, cert: str | None = None, key: str | None = None
        ) -> RMQConnectionConfig.Builder:
            """Connect over TLS. All are paths of PEM files that the workers can read.

            Args:
                ca: certificates of authorities to believe; those of the system unless given.
                cert: a certificate of our own, and `key` its private key, where the broker asks for one.
            """
            for what, path in (
                ("ca file", ca),
                ("certificate file", cert),
                ("key file", key),
            ):
                if path is not None:
                    check_text(what, path, fix="give the path of a PEM file")
            if key is not None and cert is None:
                raise JobDefinitionError(
                    "set_ssl() was given a key without a certificate", fix="give cert= too"
                )
            return self._set("tls", Tls(ca, cert, key))

        def set_topology_recovery_enabled(
            self, topology_recovery_enabled: bool
        ) -> RMQConnectionConfig.Builder:
            """Kept for PyFlink's sake: queue and consumer are set up again on every new connection."""
            return self._set("topology_recovery", bool(topology_recovery_enabled))

        def set_requested_heartbeat(self, requested_heartbeat: int) -> RMQConnectionConfig.Builder:
            """In seconds; 0 switches heartbeats off, so that a broker that vanishes is noticed late."""
            fix = "give seconds, for example 30"
            check_int("requested heartbeat", requested_heartbeat, least=0, most=65_535, fix=fix)
            return self._set("requested_heartbeat", requested_heartbeat)

        def set_requested_frame_max(self, requested_frame_max: int) -> RMQConnectionConfig.Builder:
            """In bytes; AMQP wants 4096 at least."""
            fix = "give bytes, for example 131072"
            check_int("requested frame max", requested_frame_max, least=4096, most=131_072, fix=fix)
            return self._set("requested_frame_max", requested_frame_max)

        def set_requested_channel_max(self, requested_channel_max: int) -> RMQConnectionConfig.Builder:
            """How many channels a connection may have; one is used."""
            fix = "give for example 16"
            check_int("requested channel max", requested_channel_max, least=1, most=65_535, fix=fix)
            return self._set("requested_channel_max", requested_channel_max)

        def set_network_recovery_interval(
            self, network_recovery_interval: int
        ) -> RMQConnectionConfig.Builder:
            """In ms, the longest wait between two attempts to connect again; 5000 unless set."""
            fix = "give milliseconds, for example 5000"
            check_int("network recovery interval", network_recovery_interval, least=1, fix=fix)
            return self._set("network_recovery_interval", network_recovery_interval)

        def set_connection_timeout(self, connection_timeout: int) -> RMQConnectionConfig.Builder:
            """In ms, for one attempt to connect; 10000 unless set."""
            fix = "give milliseconds, for example 10000"
            check_int("connection timeout", connection_timeout, least=1, fix=fix)
            return self._set("connection_timeout", connection_timeout)

        def set_connection_retry_timeout(self, connection_retry_timeout: int) -> RMQConnectionConfig.Builder:
            """In ms, how long a lost connection is tried again before the job fails; 120000 unless set."""
            fix = "give milliseconds, for example 120000; set_automatic_recovery(False) fails at once"
            check_int("connection retry timeout", connection_retry_timeout, least=1, fix=fix)
            return self._set("connection_retry_timeout", connection_retry_timeout)

        def set_automatic_recovery(self, automatic_recovery: bool) -> RMQConnectionConfig.Builder:
            """Whether a lost connection is opened again; else the job fails at once, and its restart strategy decides."""
            return self._set("automatic_recovery", bool(automatic_recovery))

        def set_prefetch_count(self, prefetch_count: int) -> RMQConnectionConfig.Builder:
            """How many deliveries a source subtask holds unacknowledged, at most: 10000 unless set. They are acknowledged
            when a checkpoint has completed, so this bounds the throughput: one prefetch per checkpoint interval."""
            fix = "give 1 to 65535; 0 would let the broker send its whole queue at once"
            check_int("prefetch count", prefetch_count, least=1, most=MAX_PREFETCH, fix=fix)
            return self._set("prefetch_count", prefetch_count)

        def build(self) -> RMQConnectionConfig:
            """The configuration.

            Raises:
                JobDefinitionError: neither a host nor a URI, or both.
                ConfigurationError: the URI is malformed.
            """
            given = dict(self._fields)
            uri = given.get("uri")
            if uri is not None:
                both = sorted(_IN_URI & given.keys())
                if both:
                    raise JobDefinitionError(
                        f"a RMQConnectionConfig was given a URI and {', '.join(both)}, which a URI holds",
                        fix="leave out set_uri(...), or the other setters",
                    )
                given = {**_parsed(uri), **given}
                if given.pop("encrypted"):
                    given.setdefault("tls", Tls())
            elif "host" not in given:
                raise JobDefinitionError(
                    "a RMQConnectionConfig needs a host or a URI",
                    fix="call set_host('localhost') or set_uri('amqp://...') on its builder",
                )
            if "port" not in given:
                given["port"] = _TLS_PORT if given.get("tls") else _PLAIN_PORT
            return RMQConnectionConfig(**given)

        def _set(self, name: str, value: Any) -> RMQConnectionConfig.Builder:
            self._fields[name] = value
            return self


_IN_URI: Final = frozenset({"host", "port", "virtual_host", "user_name", "password"})


def connection_parameters(config: RMQConnectionConfig, *, name: str) -> Any:
    """`pika.ConnectionParameters` for one attempt to connect; whoever connects decides about retries.

    Args:
        name: what the broker's management shows the connection as.

    Raises:
        MissingDependencyError: pika is not installed.
        ConfigurationError: a file for TLS cannot be read.
    """
    try:
        import pika
    except ImportError:
        raise MissingDependencyError("pika", "rabbitmq", needed_for="RabbitMQ") from None
    timeout_s = (config.connection_timeout or _DEFAULT_TIMEOUT_MS) / 1000
    optional = {
        "channel_max": config.requested_channel_max,
        "frame_max": config.requested_frame_max,
        "heartbeat": config.requested_heartbeat,
        "ssl_options": config.tls and pika.SSLOptions(_ssl_context(config.tls), config.host),
    }
    return pika.ConnectionParameters(
        host=config.host,
        port=config.port,
        virtual_host=config.virtual_host,
        credentials=pika.PlainCredentials(config.user_name, config.password),
        connection_attempts=1,
        socket_timeout=timeout_s,
        stack_timeout=timeout_s,
        client_properties={"connection_name": name},
        **{key: value for key, value in optional.items() if value is not None},
    )


def backoff_ms(config: RMQConnectionConfig, failures: int) -> int:
    """How long to wait before connecting again after so many failures in a row (from 1): 100 ms, doubled each time, at
    most the network recovery interval.

    >>> config = RMQConnectionConfig("broker", network_recovery_interval=300)
    >>> [backoff_ms(config, failures) for failures in (1, 2, 3, 1000)]
    [100, 200, 300, 300]
    """
    longest = config.network_recovery_interval or _DEFAULT_RECOVERY_INTERVAL_MS
    return int(min(longest, _FIRST_BACKOFF_MS * 2 ** min(failures - 1, 30)))


def _ssl_context(tls: Tls) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.cert is not None:
            context.load_cert_chain(tls.cert, tls.key)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigurationError(
            f"RabbitMQ: a file for TLS cannot be used: {error.strerror or error}",
            where=f"ca={tls.ca}, cert={tls.cert}, key={tls.key}",
            fix="give set_ssl() PEM files that every worker can read",
        ) from error
    return context


def _parsed(uri: str) -> dict[str, Any]:
    """Fields of a URI, and whether it is `encrypted`. Errors do not repeat it: it may hold a password."""
    problem = None
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:
        raise ConfigurationError(
            "the URI of RabbitMQ cannot be parsed", where="set_uri", fix=_EXAMPLE_URI
        ) from None
    if parts.scheme not in {"amqp", "amqps"}:
        problem = "does not begin with amqp:// or amqps://"
    elif not parts.hostname:
        problem = "has no host"
    elif parts.query or parts.fragment:
        problem = "has options behind '?' or '#'; their place is the builder's setters"
    elif "/" in parts.path[1:]:
        problem = "has a virtual host with '/' in it, which is written %2F"
    if problem is not None:
        raise ConfigurationError(f"the URI of RabbitMQ {problem}", where="set_uri", fix=_EXAMPLE_URI)
    fields = {
        "host": parts.hostname,
        "port": port,
        "user_name": parts.username and unquote(parts.username),
        "password": parts.password and unquote(parts.password),
        "virtual_host": unquote(parts.path[1:]),
    }
    return {
        "encrypted": parts.scheme == "amqps",
        **{name: value for name, value in fields.items() if value},
    }
