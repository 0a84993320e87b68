"""What BATCH mode changes in a job's configuration."""

from __future__ import annotations

import logging
from typing import Final

from ...core.configuration import Configuration, options
from ...core.errors import JobDefinitionError
from ..graph.job_graph import JobGraph

_LOG: Final = logging.getLogger(__name__)


def fit_to_mode(
    job: JobGraph, configuration: Configuration, *, resume: bool, savepoint_path: str | None
) -> tuple[Configuration, bool]:
    """The configuration with the job's mode in it, and whether to resume.

    In BATCH mode there are no checkpoints, to take or to resume from, and state is that of one key at a time, in memory.

    Raises:
        JobDefinitionError: the job is to start from a checkpoint, and runs in BATCH mode.
    """
    name = job.settings.name
    fitted = Configuration(configuration)
    if configuration.get(options.RUNTIME_MODE) != job.settings.runtime_mode:  # AUTOMATIC
        fitted.set(options.RUNTIME_MODE, job.settings.runtime_mode)
    if not job.settings.is_batch:
        return fitted, resume
    if savepoint_path is not None:
        raise JobDefinitionError(
            f"a job in BATCH mode cannot start from the checkpoint {savepoint_path}",
            where=f"job '{name}'",
            fix="use the runtime mode STREAMING, or leave the checkpoint out",
        )
    if configuration.get(options.CHECKPOINTING_INTERVAL) is not None or resume:
        _LOG.info("job '%s' runs in BATCH mode: it takes no checkpoints, and begins at the beginning", name)
        fitted.remove_config(options.CHECKPOINTING_INTERVAL)
    fitted.set(options.STATE_BACKEND, "hashmap")
    return fitted, False
