"""What `millstream checkpoints` prints."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .checkpoint.catalog import CheckpointInfo

_KIB = 1024


def print_checkpoints(directory: str, infos: Sequence[CheckpointInfo]) -> None:
    """A table of checkpoints by job, oldest first, with their paths below it."""
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not infos:
        console.print(f"no checkpoints in {directory}", markup=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False)
    for heading in ("JOB", "JOB ID", "CHECKPOINT", "TAKEN (UTC)"):
        table.add_column(heading)
    table.add_column("SIZE", justify="right")
    table.add_column("STATE", overflow="fold")
    for info in infos:
        table.add_row(
            info.job_name or "?",
            info.job_id,
            f"chk-{info.checkpoint_id}",
            _moment(info.timestamp_ms),
            size_text(info.size_bytes),
            state_text(info),
        )
    console.print(table, markup=False)
    usable = [info for info in infos if info.complete and info.problem is None]
    if usable:
        newest = max(usable, key=lambda info: (info.timestamp_ms, info.checkpoint_id))
        console.print(f"\nnewest: millstream run JOB.py --from {newest.path}", markup=False, soft_wrap=True)


def state_text(info: CheckpointInfo) -> str:
    """Whether a checkpoint can be used, and why not."""
    if info.problem is None:
        return "complete"
    return info.problem if not info.complete else f"damaged: {info.problem}"


def size_text(size_bytes: int) -> str:
    """A size for people.

    >>> size_text(999), size_text(1536), size_text(5 * 1024**3)
    ('999 B', '1.5 KiB', '5.0 GiB')
    """
    if size_bytes < _KIB:
        return f"{size_bytes} B"
    size = float(size_bytes)
    for unit in ("KiB", "MiB", "GiB"):
        size /= _KIB
        if size < _KIB:
            return f"{size:.1f} {unit}"
    return f"{size / _KIB:.1f} TiB"


def _moment(timestamp_ms: int) -> str:
    if not timestamp_ms:
        return "?"
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
