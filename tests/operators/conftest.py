from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from millstream.operators.base import TwoInputOperator
from millstream.testing import OperatorHarness, TwoInputOperatorHarness
from tests.operators.scenario import WORLDS, Scenario


@pytest.fixture(params=WORLDS, ids=str)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[Any], Scenario]]:
    """`start(spec)` gives a running operator, in every world in turn."""
    running: list[Scenario] = []

    def make(spec: Any) -> Scenario:
        two_inputs = isinstance(spec.create(), TwoInputOperator)
        harness = TwoInputOperatorHarness if two_inputs else OperatorHarness
        scenario = Scenario(spec, request.param, tmp_path / str(len(running)), harness)
        running.append(scenario)
        return scenario

    yield make
    for scenario in running:
        scenario.close()
