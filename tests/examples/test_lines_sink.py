"""A sink without two-phase commit, and its contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from millstream.connectors.base import SinkWriterContext
from millstream.testing.connectors import AtLeastOnceSinkContract


@dataclass(frozen=True)
class LinesSink:
    """Appends the records to a file for each subtask; at least once."""

    folder: Path

    def create_writer(self, context: SinkWriterContext[Any]) -> LinesWriter:
        return LinesWriter(self.folder / f"part-{context.subtask}")


class LinesWriter:
    def __init__(self, path: Path) -> None:
        self._file = path.open("a")

    def write_batch(self, values: Sequence[str], timestamps: Sequence[int] | None) -> None:
        self._file.writelines(f"{value}\n" for value in values)

    def flush(self, end_of_input: bool) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


class TestLinesSink(AtLeastOnceSinkContract):
    @pytest.fixture
    def sink(self, tmp_path: Path) -> LinesSink:
        return LinesSink(tmp_path)

    def visible(self, sink: LinesSink) -> list[str]:
        return [line for path in sink.folder.iterdir() for line in path.read_text().splitlines()]
