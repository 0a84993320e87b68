"""INVARIANT G1: what an operator's id depends on, and what it does not."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from millstream.operators.stateless import FilterSpec
from millstream.runtime.graph.compiler import run_passes
from millstream.runtime.graph.passes import assign_operator_ids
from millstream.runtime.graph.stream_graph import ChainingStrategy, Rebalance
from tests.graph.graphs import Program, identity


def ids(program, **settings):
    """By the name of the operator, after all passes."""
    return {node.name: node.operator_id for node in run_passes(program.build(**settings)).nodes}


def pipeline(**changes):
    program = Program()
    mapped = program.map(program.source(), **changes)
    program.window(mapped)
    return program


def test_ids_are_32_hexadecimal_digits_and_distinct():
    found = ids(pipeline())
    assert len(set(found.values())) == len(found)
    assert all(len(id_) == 32 and int(id_, 16) >= 0 for id_ in found.values())


def test_ids_are_stable_across_releases():
    # A change here makes every checkpoint of a program without uids unusable.
    assert ids(pipeline())["window"] == "4e15557cf9ae0890b299a36c06ad0d8f"


def test_ids_do_not_depend_on_parallelism_chaining_names_or_combiners():
    expected = ids(pipeline())["window"]
    assert ids(pipeline(), parallelism=1)["window"] == expected
    assert ids(pipeline(), parallelism=7)["window"] == expected
    assert ids(pipeline(), local_aggregation=False)["window"] == expected
    assert ids(pipeline(), chaining_enabled=False)["window"] == expected
    assert ids(pipeline(name="renamed"))["window"] == expected
    assert ids(pipeline(parallelism=5, chaining=ChainingStrategy.NEVER))["window"] == expected
    assert ids(pipeline(defined_at="elsewhere.py:1"))["window"] == expected


def test_ids_depend_on_what_is_upstream():
    expected = ids(pipeline())["window"]
    assert ids(pipeline(operator=FilterSpec(identity)))["window"] != expected
    assert ids(pipeline(partitioner=Rebalance()))["window"] != expected


def test_a_uid_alone_decides_the_id_of_its_operator():
    renamed = pipeline(uid="mine", name="renamed", operator=FilterSpec(identity))
    assert ids(renamed)["renamed"] == ids(pipeline(uid="mine"))["map"]
    assert ids(pipeline(uid="other"))["map"] != ids(pipeline(uid="mine"))["map"]


def test_a_uid_upstream_decouples_what_follows_from_what_is_before():
    with_filter = Program()
    filtered = with_filter.map(with_filter.source(), operator=FilterSpec(identity))
    with_filter.window(with_filter.map(filtered, uid="anchor"))
    assert ids(with_filter)["window"] == ids(pipeline(uid="anchor"))["window"]


def test_identical_siblings_are_told_apart_by_their_order():
    program = Program()
    source = program.source()
    for name in ("first", "second", "third"):
        program.map(source, name=name)
    found = ids(program)
    assert len(set(found.values())) == 4
    two = Program()
    source = two.source()
    for name in ("first", "second"):
        two.map(source, name=name)
    assert ids(two)["second"] == found["second"]


def test_the_combiner_has_an_id_derived_from_its_target():
    assert ids(pipeline())["Local-window"] != ids(pipeline())["window"]
    changed = pipeline(uid="x")
    assert ids(changed)["Local-window"] != ids(pipeline())["Local-window"]


@given(st.lists(st.integers(0, 4), max_size=6), st.integers(1, 50))
def test_ids_do_not_depend_on_node_ids(upstream, shift):
    program = Program()
    nodes = [program.source()]
    for choice in upstream:
        nodes.append(program.map(nodes[choice % len(nodes)]))
    graph = program.build()
    shifted = replace(
        graph,
        nodes=tuple(replace(node, node_id=node.node_id + shift) for node in graph.nodes),
        edges=tuple(replace(e, source=e.source + shift, target=e.target + shift) for e in graph.edges),
    )
    before = [node.operator_id for node in assign_operator_ids(graph).nodes]
    assert [node.operator_id for node in assign_operator_ids(shifted).nodes] == before
    assert len(set(before)) == len(before)
