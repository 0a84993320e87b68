"""Where the demo's job reads from and writes to: a generator and files. `demo_kafka.py` has the same on Kafka."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

from clickstream import Clickstream, Sales

from millstream.connectors.base import Sink, Source
from millstream.connectors.datagen import DataGeneratorSource, RateLimiterStrategy
from millstream.connectors.files import BucketAssigner, FileSink, OutputFileConfig


class Ends(Protocol):
    """Both ends of the job, and a look at what it committed."""

    description: str

    def source(self, clicks: Clickstream, per_second: int) -> Source[Any, Any]:
        """The clicks."""

    def sink(self) -> Sink[Any]:
        """For rows of sales."""

    def feeding(self, clicks: Clickstream, per_second: int) -> AbstractContextManager[object]:
        """Held while the job runs, for a source that somebody has to fill."""

    def count_committed(self) -> int:
        """Rows that anybody can see now."""

    def committed(self) -> list[Sales]:
        """The rows that anybody can see."""


class FileEnds:
    """A source that computes the clicks, and files that appear when a checkpoint commits them."""

    description = "exactly once into CSV files"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._counted: dict[Path, int] = {}

    def source(self, clicks: Clickstream, per_second: int) -> Source[Any, Any]:
        """`click(0)`, `click(1)`, ... After a restart it goes on from the index in the checkpoint."""
        return DataGeneratorSource(clicks.click, clicks.clicks, RateLimiterStrategy.per_second(per_second))

    def sink(self) -> Sink[Any]:
        """Unfinished files have names that begin with a dot; committing is renaming."""
        return (
            FileSink.for_row_format(self._folder, Sales.to_line)
            .with_bucket_assigner(BucketAssigner.base_path_bucket_assigner())
            .with_output_file_config(OutputFileConfig("sales", ".csv"))
            .build()
        )

    def feeding(self, clicks: Clickstream, per_second: int) -> AbstractContextManager[object]:
        """Nobody has to: the source has all it needs."""
        return nullcontext()

    def count_committed(self) -> int:
        """Lines in the visible files. A committed file never changes, so each is counted once."""
        for path in self._folder.glob("[!.]*"):
            if path not in self._counted:
                self._counted[path] = len(path.read_text().splitlines())
        return sum(self._counted.values())

    def committed(self) -> list[Sales]:
        """The lines of the visible files."""
        paths = sorted(self._folder.glob("[!.]*"))
        return [Sales.from_line(line) for path in paths for line in path.read_text().splitlines()]
