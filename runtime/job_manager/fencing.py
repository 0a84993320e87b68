"""What keeps a job manager that leads no more from acting. Without high availability nothing does: there is only one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from ...checkpoint.storage import CheckpointStorage
from .scheduling import JobStatus
from .statistics import JobStatistics


class Fencing(Protocol):
    """The leadership of a job manager, as its parts see it. `require` and `claim_attempt`, `completed` are thread-safe.

    Everything a job manager does to the outside world is asked for here first: messages to workers, files, deletions, and
    above all what makes a checkpoint complete. Whatever raises LeadershipLostError leaves everything as it was.
    """

    @property
    def outlived(self) -> bool:
        """Whether the job goes on elsewhere when this process ends before it."""

    def require(self) -> None:
        """Raises LeadershipLostError unless no other process can be leading now."""

    def when_lost(self, wake: Callable[[], None]) -> None:
        """Call `wake`, from any thread, when `require` begins to raise."""

    def claim_attempt(self, storage: CheckpointStorage, job_name: str, *, at_least: int = 1) -> int:
        """A number above that of every attempt before, durably. See `CheckpointStorage.claim_attempt`."""

    def completed(self, checkpoint_ids: Sequence[int]) -> None:
        """From now on exactly these checkpoints, whose metadata is durable, are the job's completed ones."""

    def ended(self, statistics: JobStatistics, status: JobStatus, runtime_ms: int, error: str | None) -> None:
        """The job is over for good: nobody shall go on with it."""

    def given_up(self) -> None:
        """This process acts no more, and the job is not over. Never raises. Idempotent."""


class Unfenced:
    """The only job manager there is."""

    outlived = False

    def require(self) -> None:
        """Always."""

    def when_lost(self, wake: Callable[[], None]) -> None:
        """Never."""

    def claim_attempt(self, storage: CheckpointStorage, job_name: str, *, at_least: int = 1) -> int:
        """The storage alone knows."""
        return storage.claim_attempt(job_name, at_least=at_least)

    def completed(self, checkpoint_ids: Sequence[int]) -> None:
        """Durable metadata is enough."""

    def ended(self, statistics: JobStatistics, status: JobStatus, runtime_ms: int, error: str | None) -> None:
        """Nobody needs to know."""

    def given_up(self) -> None:
        """As for `ended`."""
