"""Runs plans and writes down what came out."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

import msgspec

from millstream.core.clock import SystemClock
from tests.chaos.faults import inject, pause
from tests.chaos.jobs.topologies import expected_lines
from tests.chaos.scene import Scene
from tests.chaos.schedule import Fault, FaultKind, Plan
from tests.integration.engine.harness import wait_until

LEDGER = Path(__file__).parent / "ledger" / "chaos-ledger.jsonl"
PATIENCE_S = 180
MOST_STARTS = 30
_CLOCK = SystemClock()


class Verdict(StrEnum):
    """What a run has shown."""

    EXACT = "every result once"
    WRONG = "results lost or doubled"
    HUNG = "no progress"
    FAILED = "the job ended with an error that no fault explains"
    LITTER = "something is left behind"


class Entry(msgspec.Struct, frozen=True):
    """A line of the ledger.

    Attributes:
        done: for each fault what was done, "" where there was nothing to do it to, or the job was over.
        lost, doubled: results, of a run that came to its end.
        detail: of what is wrong; the end of the log.
    """

    plan: Plan
    verdict: Verdict
    done: tuple[str, ...]
    lost: int
    doubled: int
    starts: int
    duration_ms: int
    detail: str = ""

    @property
    def repeat(self) -> str:
        """The command that does the same again."""
        return f"make chaos RUNS=1 SEED={self.plan.seed}"


class Stuck(Exception):
    """The run has shown something other than `EXACT`."""

    def __init__(self, verdict: Verdict, detail: str) -> None:
        super().__init__(detail)
        self.verdict = verdict
        self.detail = detail


def run(plan: Plan, ledger: Path, servers: Callable[[], str]) -> Entry:
    """One run, and its line in the ledger; `servers` gives those of a Kafka, if the plan wants one."""
    began_ms = _CLOCK.monotonic_ms()
    with tempfile.TemporaryDirectory(prefix=f"millstream-chaos-{plan.seed}-") as folder:
        scene = Scene(plan, Path(folder), servers)
        try:
            entry = _observed(scene)
        finally:
            scene.close()
    entry = msgspec.structs.replace(entry, duration_ms=_CLOCK.monotonic_ms() - began_ms)
    ledger.parent.mkdir(parents=True, exist_ok=True)
    with ledger.open("ab") as file:
        file.write(msgspec.json.encode(entry) + b"\n")
    return entry


def _observed(scene: Scene) -> Entry:
    done: list[str] = []
    try:
        scene.start()
        done.extend(_with_fault(scene, fault) for fault in scene.plan.faults)
        _to_the_end(scene)
        lost, doubled = _difference(scene)
    except (Stuck, AssertionError) as error:
        stuck = (
            error if isinstance(error, Stuck) else Stuck(Verdict.HUNG, f"{error}\n{scene.text()[-4_000:]}")
        )
        return _entry(scene, stuck.verdict, done, stuck.detail)
    if lost or doubled:
        detail = f"lost {sorted(lost)[:5]}, doubled {sorted(doubled)[:5]}\n{scene.text()[-4_000:]}"
        return _entry(scene, Verdict.WRONG, done, detail, lost.total(), doubled.total())
    litter = _litter(scene)
    return _entry(scene, Verdict.LITTER if litter else Verdict.EXACT, done, litter)


def _with_fault(scene: Scene, fault: Fault) -> str:
    """Wait for the fault's moment and do it; what was done."""
    known = {folder.name for folder in scene.workshop.complete()}

    def reached() -> bool:
        new = {folder.name for folder in scene.workshop.complete()} - known
        return len(new) >= fault.after_checkpoints or scene.exit_status() is not None

    wait_until(reached, f"{fault.after_checkpoints} checkpoints before '{fault.kind}'", PATIENCE_S)
    pause(fault.pause_ms)
    if scene.exit_status() == 0:
        return ""
    done = inject(scene, fault) if scene.exit_status() is None else ""
    _start_again_if_dead(scene)
    return done


def _to_the_end(scene: Scene) -> None:
    while scene.exit_status() != 0:
        wait_until(lambda: scene.exit_status() is not None, "the end of the job", PATIENCE_S)
        _start_again_if_dead(scene)


def _start_again_if_dead(scene: Scene) -> None:
    status = scene.exit_status()
    if status is None or status == 0:
        return
    text = scene.text()
    if status > 0 and not _is_explained(scene, text):
        raise Stuck(Verdict.FAILED, f"exit status {status}\n{text[-4_000:]}")
    if scene.starts >= MOST_STARTS:
        raise Stuck(Verdict.HUNG, f"{scene.starts} starts\n{text[-4_000:]}")
    scene.start()


def _is_explained(scene: Scene, text: str) -> bool:
    """Whether the job stopped, in words of ours, for what was done to its checkpoint directory: a damaged file, which is named
    with the option that would let it go on, or a start while nothing can be written."""
    kinds = {fault.kind for fault in scene.plan.faults}
    refused = "execution.checkpointing.recovery-fallback" in text or "can be used: " in text
    damage = refused and bool(kinds & {FaultKind.FLIP_BYTE, FaultKind.TRUNCATE})
    unwritable = "cannot be written" in text or "cannot be recorded" in text
    disk = unwritable and bool(kinds & {FaultKind.FULL_DISK, FaultKind.READ_ONLY})
    return (damage or disk) and str(scene.workshop.checkpoints) in text and "Traceback" not in text


def _difference(scene: Scene) -> tuple[Counter[str], Counter[str]]:
    committed = scene.output.committed()
    expected = Counter(expected_lines(scene.plan.topology, scene.plan.events))
    return expected - committed, committed - expected


def _litter(scene: Scene) -> str:
    try:
        scene.workshop.check_nothing_is_left()
    except AssertionError as error:
        return str(error)
    return scene.output.litter()


def _entry(
    scene: Scene, verdict: Verdict, done: list[str], detail: str, lost: int = 0, doubled: int = 0
) -> Entry:
    return Entry(scene.plan, verdict, tuple(done), lost, doubled, scene.starts, duration_ms=0, detail=detail)
