"""Which operators become one vertex, and what is left between vertices."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.graph.execution_graph import build_execution_graph
from millstream.runtime.graph.stream_graph import Broadcast, ChainingStrategy, Hash, Rebalance
from tests.graph.graphs import Program


def vertex_names(program, **settings):
    return [vertex.name for vertex in compile_job(program.build(**settings)).vertices]


def chain_of_three(**changes_of_second):
    program = Program()
    first = program.map(program.source("A"), name="B", **changes_of_second)
    program.map(first, name="C")
    return program


def test_forwarded_operators_of_one_parallelism_are_one_vertex():
    assert vertex_names(chain_of_three()) == ["A -> B -> C"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"chaining": ChainingStrategy.HEAD}, ["A", "B -> C"]),
        ({"chaining": ChainingStrategy.NEVER}, ["A", "B", "C"]),
        ({"slot_sharing_group": "other"}, ["A", "B -> C"]),
        ({"partitioner": Rebalance()}, ["A", "B -> C"]),
        ({"partitioner": Broadcast()}, ["A", "B -> C"]),
        ({"parallelism": 1}, ["A", "B", "C"]),
        ({"max_parallelism": 64}, ["A", "B", "C"]),
    ],
    ids=str,
)
def test_a_chain_is_cut_by(changes, expected):
    assert vertex_names(chain_of_three(**changes)) == expected


def test_nothing_is_chained_when_chaining_is_disabled():
    assert vertex_names(chain_of_three(), chaining_enabled=False) == ["A", "B", "C"]


def test_an_operator_with_two_inputs_begins_a_chain():
    program = Program()
    program.map(program.source("A"), program.source("B"), name="C")
    assert vertex_names(program) == ["A", "B", "C"]


def test_an_exchange_by_key_stays_one_at_parallelism_one():
    program = Program(parallelism=1)
    program.window(program.source("A"), name="B")
    job = compile_job(program.build())
    assert [vertex.name for vertex in job.vertices] == ["A", "B"]
    assert isinstance(job.edges[0].partitioner, Hash)


def test_consumers_of_one_operator_are_branches_of_its_chain():
    program = Program()
    source = program.source("A")
    left = program.map(source, name="B")
    program.map(left, name="C")
    program.map(source, name="D", side_output="odd")
    job = compile_job(program.build())
    (vertex,) = job.vertices
    assert vertex.name == "A -> (B -> C, D)"
    assert [(o.name, o.input_index, o.input_side_output) for o in vertex.operators] == [
        ("A", None, None),
        ("B", 0, None),
        ("C", 1, None),
        ("D", 0, "odd"),
    ]


def test_an_exchange_names_the_operator_of_the_chain_that_feeds_it():
    program = Program()
    first = program.map(program.source("A"), name="B")
    program.map(first, name="C")
    program.map(first, name="D", partitioner=Rebalance(), side_output="tag")
    job = compile_job(program.build())
    (edge,) = job.edges
    assert (edge.source, edge.target, edge.side_output) == (0, 1, "tag")
    assert job.vertices[0].operators[edge.source_operator].name == "B"


def test_a_stream_united_with_itself_gives_two_exchanges():
    program = Program()
    source = program.source("A")
    program.map(source, source, name="B")
    job = compile_job(program.build())
    assert [(edge.index, edge.source, edge.target) for edge in job.edges] == [(0, 0, 1), (1, 0, 1)]


def test_the_vertex_has_the_id_of_its_head_and_the_maximum_parallelism_of_its_parallelism():
    program = chain_of_three()
    job = compile_job(program.build())
    assert job.vertices[0].vertex_id == job.vertices[0].operators[0].operator_id
    assert [
        compile_job(program.build(parallelism=p)).vertices[0].max_parallelism for p in (1, 2, 85, 86)
    ] == [
        128,
        128,
        128,
        256,
    ]
    assert compile_job(program.build(max_parallelism=7)).vertices[0].max_parallelism == 7


def test_slots_are_shared_within_a_group_only():
    assert build_execution_graph(compile_job(chain_of_three().build())).worker_count == 2
    apart = chain_of_three(slot_sharing_group="other")
    assert build_execution_graph(compile_job(apart.build())).worker_count == 4


STRATEGIES = st.sampled_from(list(ChainingStrategy))
NODES = st.lists(
    st.tuples(
        st.lists(st.integers(0, 9), min_size=1, max_size=3), st.integers(1, 3), STRATEGIES, st.booleans()
    ),
    max_size=9,
)


@given(NODES)
def test_every_operator_is_in_one_vertex_and_every_edge_is_in_a_chain_or_an_exchange(declared):
    program = Program()
    nodes = [program.source()]
    for upstream, parallelism, strategy, by_key in declared:
        inputs = [nodes[i % len(nodes)] for i in upstream]
        add = program.window if by_key else program.map
        nodes.append(add(*inputs, parallelism=parallelism, chaining=strategy))
    program.map(nodes[-1])
    graph = program.build(local_aggregation=False)
    job = compile_job(graph)
    operators = [operator for vertex in job.vertices for operator in vertex.operators]
    assert len(operators) == len(graph.nodes)
    assert len({operator.operator_id for operator in operators}) == len(operators)
    chained = sum(operator.input_index is not None for operator in operators)
    assert chained + len(job.edges) == len(graph.edges)
    assert all(edge.source < edge.target for edge in job.edges)
    for vertex in job.vertices:
        for index, operator in enumerate(vertex.operators):
            assert (operator.input_index is None) == (index == 0)
            assert operator.input_index is None or operator.input_index < index
