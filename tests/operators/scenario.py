"""Runs a test of an operator in several worlds: each backend, with and without a restore in the middle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from millstream.core.batch import Watermark, WatermarkStatus
from millstream.testing import OperatorHarness


@dataclass(frozen=True)
class World:
    backend: str
    cache_entries: int = 100_000
    parallelisms: tuple[int, ...] = (1,)
    """Of the first run, then after each pause in turn; one alone: pauses do nothing."""
    configuration: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __str__(self) -> str:
        cache = "-tiny-cache" if self.cache_entries < 100 else ""
        return f"{self.backend}{cache}-{'-to-'.join(map(str, self.parallelisms))}"


WORLDS = [
    *(World("hashmap", parallelisms=parallelisms) for parallelisms in ((1,), (1, 1), (1, 3, 2))),
    World("rocksdb", parallelisms=(1, 1)),
    *(World("rocksdb", cache_entries=2, parallelisms=parallelisms) for parallelisms in ((1,), (1, 3, 2))),
]


class Scenario:
    """A harness that changes its identity at each `pause`."""

    def __init__(
        self,
        spec: Any,
        world: World,
        directory: Path,
        harness: type[OperatorHarness] = OperatorHarness,
    ) -> None:
        self._world = world
        self._pauses = 0
        self.harness = harness(
            spec,
            backend=world.backend,
            parallelism=world.parallelisms[0],
            cache_entries=world.cache_entries,
            directory=directory,
            configuration=world.configuration,
        )

    def pause(self) -> None:
        """The place for a crash right after a checkpoint, in the worlds that have one."""
        steps = self._world.parallelisms[1:]
        if steps:
            parallelism = steps[min(self._pauses, len(steps) - 1)]
            self._pauses += 1
            self.harness = self.harness.restored(parallelism=parallelism)

    def change(self, spec: Any) -> None:
        """The program is another one from now on: the same operator goes on with this, in every world."""
        self.harness.spec = spec
        self.harness = self.harness.restored()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.harness, name)


def groups(output: list[Any]) -> list[Any]:
    """`output` with the results between two watermarks sorted: between keys no order is promised."""
    found: list[Any] = []
    current: list[Any] = []
    for entry in output:
        if isinstance(entry, Watermark | WatermarkStatus):
            found += [*sorted(current, key=repr), entry]
            current = []
        else:
            current.append(entry)
    return found + sorted(current, key=repr)
