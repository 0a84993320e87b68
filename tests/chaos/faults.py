"""Does to a running job what the plan says. Each fault returns what it really did; "" when there was nothing to do it to."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from tests.chaos.scene import Scene
from tests.chaos.schedule import Fault, FaultKind
from tests.chaos.sockets import break_a_connection
from tests.integration.engine.harness import wait_until

Injector = Callable[[Scene, Fault], str]


def inject(scene: Scene, fault: Fault) -> str:
    """Do it, and what it did once it is over: disks and clocks are as before, damaged files whole again."""
    return _INJECTORS[fault.kind](scene, fault)


def pause(duration_ms: int) -> None:
    """Chance decides about moments; whatever the job does then must be right."""
    threading.Event().wait(duration_ms / 1_000)


def _kill_worker(scene: Scene, _fault: Fault) -> str:
    worker = scene.worker()
    return "" if worker is None else _signal(worker, signal.SIGKILL)


def _kill_fork_server(scene: Scene, _fault: Fault) -> str:
    worker = scene.worker()
    with suppress(psutil.NoSuchProcess):
        server = None if worker is None else worker.parent()
        if server is not None and server.pid != scene.root().pid:
            return _signal(server, signal.SIGKILL)
    return ""


def _kill_job_manager(scene: Scene, _fault: Fault) -> str:
    scene.kill(everything=False)
    return "killed"


def _kill_everything(scene: Scene, _fault: Fault) -> str:
    scene.kill(everything=True)
    return "killed"


def _stop_worker(scene: Scene, fault: Fault) -> str:
    worker = scene.worker()
    if worker is None or not _signal(worker, signal.SIGSTOP):
        return ""
    pause(fault.duration_ms)
    _signal(worker, signal.SIGCONT)
    return f"worker {worker.pid} stood still"


def _full_disk(scene: Scene, fault: Fault) -> str:
    if not scene.disk.mounted:
        return ""
    scene.disk.fill()
    pause(fault.duration_ms)
    scene.disk.empty()
    return "filled"


def _read_only(scene: Scene, fault: Fault) -> str:
    if not scene.disk.mounted:
        return ""
    scene.disk.read_only()
    pause(fault.duration_ms)
    scene.disk.writable()
    return "read-only"


def _flip_byte(scene: Scene, fault: Fault) -> str:
    def flipped(content: bytes) -> bytes:
        position = scene.random.randrange(len(content))
        return content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]

    return _damage(scene, fault, flipped)


def _truncate(scene: Scene, fault: Fault) -> str:
    return _damage(scene, fault, lambda content: content[: scene.random.randrange(len(content))])


def _damage(scene: Scene, fault: Fault, damaged: Callable[[bytes], bytes]) -> str:
    """Until the job has restored, or has ended because it will not; then the file is whole again."""
    file = _file_of_newest_checkpoint(scene)
    try:
        content = file.read_bytes() if file is not None else b""
        if file is None or not content:
            return ""
        _replace(file, damaged(content))
    except OSError:  # deleted meanwhile: a newer checkpoint is complete
        return ""
    _kill_worker(scene, fault)
    newest = scene.workshop.complete()[-1:]
    wait_until(
        lambda: (
            scene.exit_status() is not None or not file.exists() or scene.workshop.complete()[-1:] != newest
        ),
        "the next checkpoint or the end of the job",
    )
    with suppress(OSError):
        if file.exists():
            _replace(file, content)
    return str(file.relative_to(scene.workshop.checkpoints))


def _file_of_newest_checkpoint(scene: Scene) -> Path | None:
    complete = scene.workshop.complete()
    if not complete:
        return None
    shared = list((complete[-1].parent / "shared").glob("a*"))
    files = [*complete[-1].glob("a*"), complete[-1] / "_metadata", *shared]
    return scene.random.choice(sorted(files))


def _replace(file: Path, content: bytes) -> None:
    with file.open("r+b") as target:  # never a new file: the checkpoint may have been deleted
        target.truncate()
        target.write(content)


def _close_connection(scene: Scene, _fault: Fault) -> str:
    return _break(scene, socket.SHUT_RDWR)


def _half_close(scene: Scene, _fault: Fault) -> str:
    return _break(scene, scene.random.choice((socket.SHUT_RD, socket.SHUT_WR)))


def _break(scene: Scene, how: int) -> str:
    worker = scene.worker()
    return "" if worker is None else break_a_connection(worker.pid, scene.random, how) or ""


def _clock_jump(scene: Scene, _fault: Fault) -> str:
    """It stays where it is until the next jump, also through restarts."""
    offset_s = scene.random.choice((-86_400, -3_600, -5, 5, 3_600, 86_400))
    scene.set_clock(offset_s)
    return f"{offset_s:+d} s"


def _signal(process: psutil.Process, number: signal.Signals) -> str:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        return ""
    return f"process {process.pid}"


_INJECTORS: dict[FaultKind, Injector] = {
    FaultKind.KILL_WORKER: _kill_worker,
    FaultKind.KILL_FORK_SERVER: _kill_fork_server,
    FaultKind.KILL_JOB_MANAGER: _kill_job_manager,
    FaultKind.KILL_EVERYTHING: _kill_everything,
    FaultKind.STOP_WORKER: _stop_worker,
    FaultKind.FULL_DISK: _full_disk,
    FaultKind.READ_ONLY: _read_only,
    FaultKind.FLIP_BYTE: _flip_byte,
    FaultKind.TRUNCATE: _truncate,
    FaultKind.CLOSE_CONNECTION: _close_connection,
    FaultKind.HALF_CLOSE: _half_close,
    FaultKind.CLOCK_JUMP: _clock_jump,
}
