"""A chain that is taken apart is as if the program had said where it begins anew."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors.collection import CollectionSource
from millstream.runtime.graph.chains import split_chains
from millstream.runtime.graph.channel_state import edge_name
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.graph.execution_graph import build_execution_graph
from millstream.runtime.graph.stream_graph import ChainingStrategy
from millstream.state.handles import EdgeName
from tests.graph.graphs import Program

SOURCE = CollectionSource(())


def tree(parents, windows, sides, heads=()):
    """A source and maps, each behind an earlier operator, by the side or not; some are windows, behind an exchange by key."""
    program = Program()
    ids = [program.source("0", uid="0", buffer_timeout_ms=7, source=SOURCE)]
    for number, parent in enumerate(parents, start=1):
        given_to = ids[parent % number]
        options = {"name": f"{number}", "uid": f"{number}", "buffer_timeout_ms": number}
        if number in windows:
            ids.append(program.window(given_to, **options))
        else:
            side = f"side of {parent % number}" if number in sides else None
            chaining = ChainingStrategy.HEAD if number in heads else ChainingStrategy.ALWAYS
            ids.append(program.map(given_to, side_output=side, chaining=chaining, **options))
    return compile_job(program.build())


def exchanges_of(job):
    return {edge_name(job, edge) for edge in job.edges}


def without_order(job):
    """Vertices and exchanges by their names."""
    ids = [vertex.vertex_id for vertex in job.vertices]
    edges = {
        edge_name(job, edge): replace(edge, index=0, source=ids[edge.source], target=ids[edge.target])
        for edge in job.edges
    }
    return {vertex.vertex_id: replace(vertex, index=0) for vertex in job.vertices}, edges


numbers = st.sets(st.integers(1, 9), max_size=4)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=9), numbers, numbers, numbers)
def test_a_split_chain_is_the_one_that_a_program_says_begins_there(parents, windows, sides, heads) -> None:
    chained, apart = tree(parents, windows, sides), tree(parents, windows, sides, heads)
    split = split_chains(chained, exchanges_of(apart) - exchanges_of(chained))
    assert without_order(split) == without_order(apart)
    assert [vertex.index for vertex in split.vertices] == list(range(len(split.vertices)))
    assert [edge.index for edge in split.edges] == list(range(len(split.edges)))
    assert all(edge.source < edge.target for edge in split.edges), "vertices come in topological order"
    assert build_execution_graph(split).worker_count == build_execution_graph(apart).worker_count


def test_what_is_not_in_a_chain_changes_nothing() -> None:
    job = tree([0, 1], windows={2}, sides=())
    source, map_ = (operator.operator_id for operator in job.vertices[0].operators[:2])
    window = job.vertices[1].operators[0].operator_id
    wrong = [
        EdgeName(map_, None, window, 1),
        EdgeName(source, "a side output", map_, 1),
        EdgeName(source, None, map_, 2),
        EdgeName("unknown", None, map_, 1),
    ]
    assert split_chains(job, wrong) == job
