"""Operators on state that lives in a database: the same results as anywhere, in fewer examples than on the local backends."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from millstream.dev.server import Server
from tests.operators import test_every_kind, test_window_programs
from tests.operators.kinds import KINDS, Kind
from tests.operators.scenario import World


@pytest.fixture(params=["postgresql", "redis"])
def database(request: pytest.FixtureRequest) -> tuple[str, dict[str, str]]:
    """The name of a backend, and its configuration."""
    fixture = {"postgresql": "postgresql", "redis": "redis_server"}[request.param]
    server: Server = request.getfixturevalue(fixture)
    return request.param, {f"state.backend.{request.param}.url": server.url}


def test_any_windows_do_what_the_model_does(database: tuple[str, dict[str, str]]) -> None:
    backend, configuration = database

    @settings(max_examples=6)
    @given(
        program=test_window_programs.programs(),
        inputs=st.lists(test_window_programs.steps, max_size=25),
        parallelisms=st.lists(st.integers(1, 3), min_size=2, max_size=3),
    )
    def run(program: Any, inputs: Any, parallelisms: list[int]) -> None:
        world = World(backend, 2, tuple(parallelisms), configuration)
        test_window_programs.check(program, inputs, world)

    run()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_results_are_those_of_the_heap_and_nothing_is_left(
    database: tuple[str, dict[str, str]], kind: Kind
) -> None:
    backend, configuration = database
    world = World(backend, 2, (1, 3, 2), configuration)

    @settings(max_examples=1)
    @given(
        way=st.sampled_from(sorted(kind.builds)),
        program=st.lists(test_every_kind.steps, min_size=5, max_size=25),
    )
    def run(way: str, program: list[Any]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            expected, found = (
                test_every_kind.Run(kind, way, w, Path(folder) / w.backend, one_by_one=False).outcome(program)
                for w in (test_every_kind.PLAIN, world)
            )
            assert found == expected

    run()
