"""Keys of Flink's configuration that say nothing here: to a JVM, to a cluster, or how fast something is to be."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from .._functions import definition_error
from ..core.configuration import Configuration
from ..core.configuration.options import LEGACY_KEYS, OPTIONS

if TYPE_CHECKING:
    from .environment import StreamExecutionEnvironment

_LOG: Final = logging.getLogger(__name__)

IGNORED_KEYS: Final = (
    "pipeline.jars",
    "pipeline.classpaths",
    "pipeline.closure-cleaner-mode",
    "pipeline.default-kryo-serializers",
    "pipeline.force-avro",
    "pipeline.force-kryo",
    "pipeline.registered-",
    "pipeline.serialization-config",
    "pipeline.cached-files",
    "python.",
    "classloader.",
    "env.java.",
    "execution.attached",
    "execution.checkpointing.incremental",
    "execution.checkpointing.local-backup.",
    "execution.checkpointing.snapshot-compression",
    "execution.checkpointing.unaligned.",
    "execution.target",
    "jobmanager.memory.",
    "jobmanager.rpc.",
    "metrics.latency.",
    "pipeline.generic-types",
    "rest.",
    "state.backend.incremental",
    "state.backend.local-recovery",
    "state.backend.rocksdb.",
    "state.changelog.",
    "task.cancellation.",
    "taskmanager.memory.",
    "taskmanager.numberOfTaskSlots",
)
"""Whole keys, and beginnings that end with `.` or `-`. Results of a job do not depend on any of them."""

_FILES: Final = "python.files"
_ARCHIVES: Final = "python.archives"


def without_ignored_keys(
    configuration: Configuration, environment: StreamExecutionEnvironment
) -> Configuration:
    """A copy without the keys that have no effect here, each with a line in the log.

    What `python.files` names can be imported from now on. Keys of Flink 1.x get today's names, unless these are set too.

    Raises:
        JobDefinitionError: `python.archives` is set, or a file of `python.files` does not exist.
    """
    kept = Configuration(configuration)
    for key in sorted(configuration.key_set()):
        if key == _FILES:
            for path in configuration.get_string(key, "").split(","):
                environment.add_python_file(path.strip())
        elif key == _ARCHIVES:
            raise definition_error(
                f"'{_ARCHIVES}' cannot be {configuration.get_string(key, '')!r}: archives are not unpacked for functions",
                fix="unpack them, and let functions open the files by absolute paths",
            )
        elif key in LEGACY_KEYS:
            _LOG.info("'%s' is called '%s' now", key, LEGACY_KEYS[key])
            if not configuration.contains_key(LEGACY_KEYS[key]):
                source = configuration.source_of(key) or "program"
                kept._set(LEGACY_KEYS[key], configuration.get_string(key, ""), source)
        elif is_ignored_key(key):
            _LOG.info("'%s' has no effect here and is left out; no result depends on it", key)
        else:
            continue
        kept.remove_config(key)
    return kept


def is_ignored_key(key: str) -> bool:
    """Whether nothing here depends on the key.

    >>> is_ignored_key("pipeline.jars"), is_ignored_key("python.executable"), is_ignored_key("pipeline.jar")
    (True, True, False)
    """
    if key in OPTIONS:
        return False
    return any(key == known or (known[-1] in ".-" and key.startswith(known)) for known in IGNORED_KEYS)
