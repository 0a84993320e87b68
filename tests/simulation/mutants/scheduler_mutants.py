"""Bugs of the scheduler planted on purpose: the simulation proves its worth by catching every one of them."""

from __future__ import annotations

from collections.abc import Iterable

from millstream.runtime.job_manager.region_run import RegionRun, Stage
from millstream.runtime.job_manager.scheduler import Scheduler, _Goal
from millstream.runtime.job_manager.scheduling import (
    Action,
    Event,
    Failure,
    InputEnded,
    KillWorker,
    StopCheckpointing,
    TasksStopped,
)


class OverlapsAttemptsOfARegion(Scheduler):
    """Restarts as soon as the tasks have been told to stop."""

    def _stop(self, runs: Iterable[RegionRun], now_ms: int) -> list[Action]:
        actions = super()._stop(runs, now_ms)
        for run in self._regions:
            if run.stage is Stage.STOPPING:
                run.busy.clear()
        return actions


class RestoresWhileMetadataIsWritten(Scheduler):
    """Does not wait for the checkpoints to settle."""

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        actions = super().handle(event, now_ms)
        if any(isinstance(action, StopCheckpointing) for action in actions):
            self._settled = True
            actions += self._go_on(now_ms)
        return actions


class RestartsEveryRegion(Scheduler):
    """A failure strikes all, as if one edge connected everything."""

    def _fail(self, struck: Iterable[RegionRun], failure: Failure, now_ms: int) -> list[Action]:
        return super()._fail(self._regions if list(struck) else [], failure, now_ms)


class TakesEchoesForNews(Scheduler):
    """Each failure of a region that is being stopped uses up a restart."""

    def _on_failed(self, run: RegionRun, failure: Failure, now_ms: int) -> list[Action]:
        if run.stage is Stage.STOPPING and self._goal is _Goal.RUN and failure.recoverable:
            run.stage = Stage.EXECUTING
            actions = self._fail([run], failure, now_ms)
            run.stage = Stage.STOPPING
            return actions
        return super()._on_failed(run, failure, now_ms)


class HearsEarlierAttempts(Scheduler):
    """Takes the end of an input in an earlier attempt for one in the current attempt."""

    def _on_attempt(self, event: Event, now_ms: int) -> list[Action]:  # type: ignore[override]
        if isinstance(event, InputEnded) and self.region_of(event.attempt) is None:
            for run in self._regions:
                if event.subtask in run.region.subtasks:
                    run.ended.add(event.subtask)
            return self._end_if_over()
        return super()._on_attempt(event, now_ms)  # type: ignore[arg-type]


class KeepsInputsOfTheLastAttempt(Scheduler):
    """Believes after a restart that what had been read has been read."""

    def _on_prepared(self, run: RegionRun) -> list[Action]:
        ended = set(run.ended)
        actions = super()._on_prepared(run)
        run.ended |= ended
        return actions


class FinishesWithTheFirstRegion(Scheduler):
    """Does not wait for the input of the other regions."""

    def _end_if_over(self) -> list[Action]:
        ended = [run for run in self._regions if run.input_ended]
        others = [run for run in self._regions if run not in ended]
        if ended and all(run.stage is Stage.EXECUTING for run in others):
            for run in others:
                run.ended |= run.region.subtasks
        return super()._end_if_over()


class BelievesInTheDead(Scheduler):
    """Deploys to workers that were lost while nothing ran on them."""

    def _on_lost(self, worker: int, failure: Failure, now_ms: int) -> list[Action]:
        registered = worker in self._registered and not any(worker in run.busy for run in self._regions)
        actions = super()._on_lost(worker, failure, now_ms)
        if registered:
            self._registered.add(worker)
        return actions


class WaitsForEverForTasksToStop(Scheduler):
    """Kills nobody."""

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        actions = super().handle(event, now_ms)
        return [action for action in actions if not isinstance(action, KillWorker)]


class RestartsALossOfData(Scheduler):
    """Forgets that a failure is not recoverable when the region is being stopped already."""

    def _on_failed(self, run: RegionRun, failure: Failure, now_ms: int) -> list[Action]:
        return [] if run.stage is Stage.STOPPING else super()._on_failed(run, failure, now_ms)


class ForgetsTheOtherRegionsOfALostWorker(Scheduler):
    """Restarts one of the regions that a worker took down with it."""

    def _on_lost(self, worker: int, failure: Failure, now_ms: int) -> list[Action]:
        struck = [run for run in self._regions if run.is_deployed and worker in run.busy]
        for run in struck[1:]:
            run.busy.discard(worker)
        return super()._on_lost(worker, failure, now_ms)


class TrustsTheFirstWordOfAWorker(Scheduler):
    """Takes a region for stopped when one of its workers says so."""

    def handle(self, event: Event, now_ms: int) -> list[Action]:
        if isinstance(event, TasksStopped):
            for run in self._regions:
                if run.stage is Stage.STOPPING and run.attempt == event.attempt:
                    run.busy.clear()
        return super().handle(event, now_ms)


class ForgetsACancellationDuringARestart(Scheduler):
    """A cancellation while the job waits for a restart has no effect."""

    def _on_cancel(self, now_ms: int) -> list[Action]:
        return [] if Stage.BACKOFF in self.stages else super()._on_cancel(now_ms)


class LosesAWorkerThatDiesBeforeItRegisters(Scheduler):
    """Waits for a worker that nobody starts again."""

    def _on_lost(self, worker: int, failure: Failure, now_ms: int) -> list[Action]:
        starting = worker in self._starting
        actions = super()._on_lost(worker, failure, now_ms)
        if starting:
            self._starting.add(worker)
        return actions

    def _on_tick(self, now_ms: int) -> list[Action]:
        actions = super()._on_tick(now_ms)
        return [action for action in actions if not isinstance(action, KillWorker)]


class LeavesDrainedRegionsAlone(Scheduler):
    """Lets regions go on whose input was ended for a savepoint that failed."""

    def _with_companions(self, runs: list[RegionRun]) -> list[RegionRun]:
        self._drained = False
        return super()._with_companions(runs)


class RestartsBehindASavepoint(Scheduler):
    """Goes back to a checkpoint though a newer savepoint has committed."""

    def _fail(self, struck: Iterable[RegionRun], failure: Failure, now_ms: int) -> list[Action]:
        self._last_attempts = False
        return super()._fail(struck, failure, now_ms)


SCHEDULERS = [
    LeavesDrainedRegionsAlone,
    RestartsBehindASavepoint,
    OverlapsAttemptsOfARegion,
    RestoresWhileMetadataIsWritten,
    RestartsEveryRegion,
    TakesEchoesForNews,
    HearsEarlierAttempts,
    KeepsInputsOfTheLastAttempt,
    FinishesWithTheFirstRegion,
    BelievesInTheDead,
    WaitsForEverForTasksToStop,
    RestartsALossOfData,
    ForgetsTheOtherRegionsOfALostWorker,
    TrustsTheFirstWordOfAWorker,
    ForgetsACancellationDuringARestart,
    LosesAWorkerThatDiesBeforeItRegisters,
]
