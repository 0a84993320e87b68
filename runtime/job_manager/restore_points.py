"""What the next attempt restores from: the newest checkpoint that is whole. Reads storage, so it runs off the loop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from ...checkpoint.catalog import StoredCheckpoint, job_candidates, newest_valid
from ...checkpoint.compatibility import check_compatible
from ...checkpoint.leftovers import remove_leftovers
from ...checkpoint.metadata import Metadata
from ...checkpoint.storage import CheckpointStorage
from ...core.errors import CheckpointError, MillstreamError
from ..graph.execution_graph import ExecutionGraph
from .fencing import Fencing, Unfenced
from .restore import describe_operators

_LOG: Final = logging.getLogger(__name__)


class RestorePoints:
    """What the next attempt restores from: the newest checkpoint that is whole.

    Args:
        initial: restored by the first attempt, and later as long as the job has completed no checkpoint of its own.
        initial_is_own: whether it is one of this job's (`--resume`), not another's (`--from`).
        fallback: whether a job that commits output may go back behind a damaged checkpoint.
        first_attempts: those of all regions with which this run of the job begins; claimed already.
    """

    def __init__(
        self,
        storage: CheckpointStorage | None,
        job_name: str,
        graph: ExecutionGraph,
        *,
        initial: StoredCheckpoint | None,
        initial_is_own: bool,
        ignore_unclaimed_state: bool,
        first_attempts: range,
        fallback: bool = False,
        fencing: Fencing | None = None,
    ) -> None:
        self._storage = storage
        self._job_name = job_name
        self._operators = describe_operators(graph.job)
        self._initial = initial
        self._initial_is_own = initial_is_own
        self._ignore_unclaimed_state = ignore_unclaimed_state
        self._fallback = fallback
        self._first_attempts = first_attempts
        self._fencing: Fencing = Unfenced() if fencing is None else fencing
        self._problems: dict[int, str] = {}
        self._restored: int | None = None
        self._restored_foreign = False

    def find(self, attempt: int, oldest_attempt: int, retained_ids: Sequence[int]) -> Metadata | None:
        """Blocking: what `attempt` starts from, with every file there; None for a start from nothing.

        Nothing runs of attempts below `oldest_attempt`: what they left behind is removed.

        Raises:
            CheckpointError: CORRUPT or NOT_FOUND when there are checkpoints and none is whole, STORAGE, INCOMPATIBLE.
            MillstreamError: another JobManager runs this job.
        """
        if self._storage is not None and attempt not in self._first_attempts:
            self._claim(self._storage, attempt)
        found = self._newest(attempt, retained_ids)
        if found is None:
            self.tidy_up(oldest_attempt)
            return None
        check_compatible(
            found.metadata,
            self._operators,
            path=found.path,
            ignore_unclaimed_state=self._ignore_unclaimed_state,
        )
        self.tidy_up(oldest_attempt)
        self._restored = found.metadata.checkpoint_id
        self._restored_foreign = found is self._initial and not self._initial_is_own
        if self._restored_foreign:
            return found.metadata.with_absolute_paths(found.job_folder)
        return found.metadata

    def tidy_up(self, before_attempt: int) -> None:
        """Blocking: remove what no checkpoint refers to and earlier attempts left; nothing of them runs any more."""
        if self._storage is None:
            return
        try:
            remove_leftovers(self._storage, before_attempt=before_attempt)
        except CheckpointError as error:  # it costs space, nothing else
            _LOG.warning("left behind: %s", error)

    @property
    def starts_empty(self) -> bool:
        """Whether a job without checkpoints of its own has nothing to restore, ever."""
        return self._initial is None

    def distrust(self, error: CheckpointError) -> bool:
        """A task found the restored checkpoint damaged: it is not used again. Whether there may be another one."""
        if self._restored is None or self._restored_foreign:
            return False
        self._problems[self._restored] = f"{error.what} ({error.where})"
        return True

    def _newest(self, attempt: int, retained_ids: Sequence[int]) -> StoredCheckpoint | None:
        if self._storage is None or not retained_ids or attempt in self._first_attempts:
            return self._initial
        candidates = [
            replace(info, problem=self._problems.get(info.checkpoint_id))
            for info in job_candidates(self._storage, retained_ids)
        ]
        # Sizes only: the tasks verify the checksum of each file while they copy it, and tell (`distrust`). Reading everything
        # here first would read a remote state twice, and by one process, before the job is back.
        whose = f"job '{self._job_name}'"
        return newest_valid(candidates, whose, verify_content=False, fallback=self._fallback)[0]

    def _claim(self, storage: CheckpointStorage, attempt: int) -> None:
        claimed = self._fencing.claim_attempt(storage, self._job_name, at_least=attempt)
        if claimed != attempt:
            raise _two_job_managers(storage, attempt, claimed)


def _two_job_managers(storage: CheckpointStorage, attempt: int, claimed: int) -> MillstreamError:
    return MillstreamError(
        f"attempt {attempt} of this job was begun by another job manager (the next free one is {claimed})",
        where=storage.job_folder,
        fix="only one process may run a job at a time: end the other one, then start with --resume",
    )
