from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.operators.scenario import WORLDS, Scenario


@pytest.fixture(params=WORLDS, ids=str)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Any], Scenario]]:
    """`start(spec)` gives a running operator, in every world in turn."""
    running: list[Scenario] = []

    def make(spec: Any) -> Scenario:
        scenario = Scenario(spec, request.param, tmp_path / str(len(running)))
        running.append(scenario)
        return scenario

    yield make
    for scenario in running:
        scenario.close()
