"""High availability as configured, and the services it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ...checkpoint.storage import without_file_scheme
from ...core.configuration import ConfigOption, Configuration, options
from ...core.errors import ConfigurationError
from .leadership import LeaseTerms
from .store import RecordStore

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+\Z")


@dataclass(frozen=True, slots=True)
class HighAvailability:
    """What the keys `high-availability.*` say.

    Attributes:
        storage: folder or URL of this cluster's files.
        quorum: of ZooKeeper; None: the election is on the file system.
        root: node of this cluster in ZooKeeper.
    """

    cluster_id: str
    storage: str
    terms: LeaseTerms
    quorum: str | None
    root: str
    connect_ms: int
    registration_timeout_ms: int

    @staticmethod
    def of(configuration: Configuration) -> HighAvailability | None:
        """None when it is off.

        Raises:
            ConfigurationError: a key is missing, or does not go with the others.
        """
        get = configuration.get
        kind = get(options.HA_TYPE)
        if kind == "NONE":
            return None
        cluster_id = get(options.HA_CLUSTER_ID)
        if not _NAME.match(cluster_id) or cluster_id.startswith("."):
            raise ConfigurationError(
                f"'{cluster_id}' cannot be the name of a cluster",
                where=options.HA_CLUSTER_ID.key,
                fix="use letters, digits, '-', '_' and '.', not at the beginning",
            )
        zookeeper = kind == "ZOOKEEPER"
        lease = options.HA_ZOOKEEPER_SESSION_TIMEOUT if zookeeper else options.HA_LEASE_TIMEOUT
        return HighAvailability(
            cluster_id=cluster_id,
            storage=_storage(_required(configuration, options.HA_STORAGE_DIR), cluster_id, shared=zookeeper),
            terms=LeaseTerms.of(get(lease)),
            quorum=_required(configuration, options.HA_ZOOKEEPER_QUORUM) if zookeeper else None,
            root=f"/{get(options.HA_ZOOKEEPER_ROOT).strip('/')}/{cluster_id}",
            connect_ms=get(options.HA_ZOOKEEPER_CONNECTION_TIMEOUT),
            registration_timeout_ms=get(options.REGISTRATION_TIMEOUT),
        )

    @staticmethod
    def of_keys(keys: Mapping[str, str]) -> HighAvailability:
        """From keys that were found good before, with high availability on."""
        found = HighAvailability.of(Configuration(keys))
        assert found is not None, "high availability is off"
        return found

    def open_store(self) -> RecordStore:
        """The place of the election; the caller closes it.

        Raises:
            ConfigurationError: it cannot be used. MissingDependencyError: kazoo is not installed.
        """
        if self.quorum is None:
            from .file_store import FileStore

            return FileStore(Path(self.storage))
        from .zookeeper_store import ZooKeeperStore

        return ZooKeeperStore(self.quorum, self.root, terms=self.terms, connect_ms=self.connect_ms)


def _required(configuration: Configuration, option: ConfigOption[str | None]) -> str:
    value = configuration.get(option)
    if value is None:
        raise ConfigurationError(
            f"high availability needs {option.key}",
            where=f"{options.HA_TYPE.key}: {configuration.get(options.HA_TYPE)}",
            fix=f"set {option.key}, the same for every job manager of the cluster",
        )
    return value


def _storage(directory: str, cluster_id: str, *, shared: bool) -> str:
    local = without_file_scheme(directory)
    if "://" not in local:
        return str(Path(local).expanduser().absolute() / cluster_id)
    if shared:
        return f"{directory.rstrip('/')}/{cluster_id}"
    raise ConfigurationError(
        "a leader cannot be elected in an object store",
        where=f"{options.HA_STORAGE_DIR.key}: {directory}",
        fix=f"use a folder that all job managers share, or {options.HA_TYPE.key}: ZOOKEEPER, with this directory",
    )
