"""The record in ZooKeeper.

    <path.root>/<cluster-id>/record          replaced under its version
    <path.root>/<cluster-id>/sign-<epoch>    set again and again by that epoch's leader

There are no ephemeral nodes: a session that ends, and one that a server ended earlier than asked for, would say nothing about
when its owner stops acting. The lease (`leadership`) does, and outlives any restart of the servers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...core.errors import ConfigurationError, MissingDependencyError
from .leadership import LeaseTerms
from .store import RecordConflict, Versioned

if TYPE_CHECKING:
    from kazoo.client import KazooClient


class ZooKeeperStore:
    """See `RecordStore`. Connects at once.

    Args:
        quorum: `host:port` of each server, with commas between them.
        root: of all clusters; made if it is not there.
        terms: a request that is not answered in the time between two signs has failed.
        connect_ms: how long to wait for the first connection.

    Raises:
        MissingDependencyError: the extra `zookeeper` is not installed.
        ConfigurationError: no server answers.
    """

    def __init__(self, quorum: str, root: str, *, terms: LeaseTerms, connect_ms: int) -> None:
        self._timeout_s = terms.renew_ms / 1_000
        self._root = root
        self._client = _connect(quorum, terms, connect_ms)
        try:
            self._ask(self._client.ensure_path_async(f"{root}/record"))
        except OSError as error:
            self.close()
            raise _unreachable(quorum, str(error)) from error

    def read(self) -> Versioned:
        # A server that lags behind the others catches up first.
        self._ask(self._client.sync_async(self._root))
        content, stat = self._ask(self._client.get_async(f"{self._root}/record"))
        return Versioned(stat.version, content)

    def replace(self, version: int, content: bytes) -> int:
        from kazoo.exceptions import BadVersionError

        path = f"{self._root}/record"
        try:
            stat = self._ask(self._client.set_async(path, content, version))
        except BadVersionError as error:
            found = self.read()
            if found != (version + 1, content):
                raise RecordConflict("the record was replaced by another process", where=path) from error
            return found.version
        return int(stat.version)

    def read_sign(self, epoch: int) -> bytes:
        from kazoo.exceptions import NoNodeError

        try:
            content, _ = self._ask(self._client.get_async(f"{self._root}/sign-{epoch}"))
        except NoNodeError:
            return b""
        return bytes(content)

    def write_sign(self, epoch: int, sign: bytes) -> None:
        from kazoo.exceptions import NodeExistsError, NoNodeError

        path = f"{self._root}/sign-{epoch}"
        try:
            self._ask(self._client.set_async(path, sign))
        except NoNodeError:
            try:
                self._ask(self._client.create_async(path, sign))
            except NodeExistsError:  # the answer to an earlier attempt was lost
                self._ask(self._client.set_async(path, sign))

    def close(self) -> None:
        self._client.stop()
        self._client.close()

    def _ask(self, pending: Any) -> Any:  # kazoo has no type information
        """The answer, within the timeout. Raises OSError when it is not known, kazoo's own errors when it is a refusal."""
        from kazoo.exceptions import (
            ConnectionClosedError,
            ConnectionLoss,
            OperationTimeoutError,
            SessionExpiredError,
        )
        from kazoo.handlers.threading import KazooTimeoutError

        try:
            return pending.get(timeout=self._timeout_s)
        except (
            ConnectionLoss,
            ConnectionClosedError,
            OperationTimeoutError,
            SessionExpiredError,
            KazooTimeoutError,
        ) as error:
            raise ConnectionError(f"ZooKeeper does not answer: {type(error).__name__}") from error


def _connect(quorum: str, terms: LeaseTerms, connect_ms: int) -> KazooClient:
    try:
        from kazoo.client import KazooClient
    except ImportError as error:
        raise MissingDependencyError(
            "kazoo", "zookeeper", needed_for="high availability with ZooKeeper"
        ) from error
    from kazoo.handlers.threading import KazooTimeoutError

    # After an outage of the servers a connection must not be waited for much longer than they need.
    patience = {"max_tries": -1, "max_delay": terms.look_ms / 1_000}
    client = KazooClient(hosts=quorum, timeout=terms.lease_ms / 1_000, connection_retry=patience)
    try:
        client.start(timeout=connect_ms / 1_000)
    except KazooTimeoutError as error:
        client.close()
        raise _unreachable(quorum, f"no connection within {connect_ms} ms") from error
    return client


def _unreachable(quorum: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"ZooKeeper cannot be reached: {why}",
        where=f"high-availability.zookeeper.quorum: {quorum}",
        fix="start it, or correct the address",
    )
