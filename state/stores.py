"""Which database keyed state lives in, by the configuration."""

from __future__ import annotations

from ..core.configuration import ConfigOption, Configuration, options
from ..core.errors import ConfigurationError
from .backend import StateStore


def store_of(configuration: Configuration) -> StateStore | None:
    """The store of the configured backend, None where it needs none.

    Raises:
        ConfigurationError: its URL is missing.
    """
    match configuration.get(options.STATE_BACKEND):
        case "postgresql":
            url, area = options.POSTGRESQL_URL, options.POSTGRESQL_SCHEMA
            example = "postgresql://USER@HOST/DATABASE"
        case "redis":
            url, area = options.REDIS_URL, options.REDIS_PREFIX
            example = "redis://HOST:6379/0"
        case _:
            return None
    return StateStore(_required(configuration, url, example), configuration.get(area))


def _required(configuration: Configuration, option: ConfigOption[str | None], example: str) -> str:
    url = configuration.get(option)
    if url is None:
        backend = configuration.get(options.STATE_BACKEND)
        raise ConfigurationError(
            f"the state backend '{backend}' does not know its database",
            where=f"{options.STATE_BACKEND.key}: {backend}",
            fix=f"set {option.key}, for example to {example}",
        )
    return url


def cache_entries_of(configuration: Configuration) -> int:
    """The bound on entries in memory of the configured backend."""
    is_external = configuration.get(options.STATE_BACKEND) in ("postgresql", "redis")
    option: ConfigOption[int] = (
        options.EXTERNAL_CACHE_ENTRIES if is_external else options.ROCKSDB_CACHE_ENTRIES
    )
    return configuration.get(option)
