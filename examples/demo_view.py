"""What the demo shows: a progress bar and a small table on a terminal, plain lines anywhere else."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

_PLAIN_LINES: Final = 10


@dataclass(frozen=True)
class Gauges:
    """The job at one moment.

    Attributes:
        progress: how far event time has come, from 0 to 1.
        clicks: read since the start or the latest restart.
        windows: results that anybody can see, because a checkpoint committed them.
    """

    progress: float = 0.0
    clicks: int = 0
    windows: int = 0
    checkpoints: int = 0
    restarts: int = 0
    status: str = ""


class View:
    """A live view on a terminal. Elsewhere (a file, a log) every tenth of the way is a line of its own."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._bar = Progress(
            TextColumn("event time"),
            BarColumn(bar_width=50),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._task = self._bar.add_task("event time", total=1.0)
        self._live = Live(console=self._console, refresh_per_second=8)
        self._plain_lines = 0

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def say(self, line: str) -> None:
        """A line that stays. May hold rich's markup."""
        self._console.print(line, soft_wrap=True)

    def show(self, gauges: Gauges) -> None:
        """Bring the view up to date."""
        if self._console.is_terminal:
            self._bar.update(self._task, completed=gauges.progress)
            self._live.update(Group(_table(gauges), self._bar))
        elif int(gauges.progress * _PLAIN_LINES) > self._plain_lines:
            self._plain_lines = int(gauges.progress * _PLAIN_LINES)
            self._console.print(
                f"  {gauges.progress:4.0%}  {gauges.clicks:>9,} clicks since (re)start  {gauges.windows:>6,} windows committed  "
                f"{gauges.checkpoints:>3} checkpoints  {gauges.restarts} restarts",
                soft_wrap=True,
            )


def _table(gauges: Gauges) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("clicks read since (re)start", "windows committed", "checkpoints", "restarts", "job"):
        table.add_column(heading, justify="right", min_width=len(heading) + 3)
    table.add_row(
        f"{gauges.clicks:,}",
        f"{gauges.windows:,}",
        str(gauges.checkpoints),
        str(gauges.restarts),
        gauges.status.lower(),
    )
    return table
