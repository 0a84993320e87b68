from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.graph.regions import pipelined_regions
from tests.graph.graphs import Program


def regions_of(program: Program) -> list[set[str]]:
    job = compile_job(program.build())
    names = {
        vertex.index: {o.name for o in vertex.operators if not o.name.startswith("Local-")}
        for vertex in job.vertices
    }
    return [set.union(*(names[index] for index in sorted(region))) for region in pipelined_regions(job)]


def test_what_an_edge_connects_is_one_region():
    program = Program()
    program.window(program.source("a"), name="sum a")
    program.map(program.source("b"), program.source("c"), name="union")
    assert regions_of(program) == [{"a", "sum a"}, {"b", "c", "union"}]


def test_two_pipelines_that_meet_at_their_end_are_one_region():
    program = Program()
    left, right = program.source("a"), program.source("b")
    program.window(program.map(left, name="l"), program.map(right, name="r"), name="join")
    assert len(regions_of(program)) == 1


@pytest.mark.parametrize("sources", [1, 4])
def test_the_readers_of_one_source_stay_together_although_no_edge_connects_them(sources):
    program = Program()
    for n in range(sources):
        program.map(program.source(f"source {n}", parallelism=3), parallelism=3)
    assert len(regions_of(program)) == sources


@given(st.lists(st.lists(st.integers(0, 7), min_size=1, max_size=3, unique=True), max_size=8))
def test_regions_are_the_connected_components(inputs_of_maps):
    program = Program()
    sources = [program.source(f"s{n}") for n in range(8)]
    for source in sources:
        program.map(source, name="window")
    component = {n: {n} for n in range(8)}
    for inputs in inputs_of_maps:
        program.window(*(sources[n] for n in inputs))
        joined = set.union(*(component[n] for n in inputs))
        component.update(dict.fromkeys(joined, joined))
    found = [{name for name in region if name != "window"} for region in regions_of(program)]
    expected = {frozenset(f"s{n}" for n in members) for members in component.values()}
    assert set(map(frozenset, found)) == expected
    assert len(found) == len(expected)
