"""Operators with two inputs in the graphs: chaining, ids, plans."""

from __future__ import annotations

import json
from dataclasses import replace

from millstream.core.types import GENERIC, Types
from millstream.operators.co_functions import CoMapFunction
from millstream.operators.co_process import CoProcessSpec, OnCoMap
from millstream.runtime.graph.builder import StreamInput, new_node
from millstream.runtime.graph.compiler import compile_job, run_passes
from millstream.runtime.graph.execution_graph import build_execution_graph
from millstream.runtime.graph.plan import job_graph_text, stream_graph_json, stream_graph_text
from millstream.runtime.graph.stream_graph import Hash, Rebalance
from tests.graph.graphs import Program, identity


class Both(CoMapFunction):
    map1 = map2 = identity


def connected(program, first, second, partitioner=None, **changes):
    node = new_node("both", CoProcessSpec(OnCoMap(Both())), GENERIC, defined_at="job.py:3")
    inputs = [StreamInput(i, GENERIC, partitioner=partitioner) for i in first]
    inputs += [StreamInput(i, GENERIC, partitioner=partitioner, input_id=2) for i in second]
    return program.builder.add_operator(replace(node, **changes), inputs)


def ids(program):
    return {node.name: node.operator_id for node in run_passes(program.build()).nodes}


def test_a_two_input_operator_is_the_head_of_its_chain_and_followed_by_others():
    program = Program()
    both = connected(program, [program.map(program.source("A"), name="B")], [program.source("C")])
    program.map(both, name="D")
    assert [v.name for v in compile_job(program.build()).vertices] == ["A -> B", "C", "both -> D"]


def test_each_exchange_knows_its_input_also_of_one_stream_and_of_unions():
    program = Program()
    a, b = program.source("A"), program.source("B")
    connected(program, [a, b], [a])
    job = compile_job(program.build())
    assert [(edge.source, edge.target, edge.input_id) for edge in job.edges] == [
        (0, 2, 1),
        (1, 2, 1),
        (0, 2, 2),
    ]
    assert sorted(
        (channel.source.vertex.name, channel.edge.input_id)
        for channel in build_execution_graph(job).channels
        if channel.target.index == 0
    ) == [("A", 1), ("A", 2), ("B", 1)]


def test_ids_of_two_input_operators_depend_on_which_stream_is_which():
    def of(swapped):
        program = Program()
        streams = [program.source("A")], [program.map(program.source("B"), partitioner=Rebalance())]
        connected(program, *(reversed(streams) if swapped else streams))
        return ids(program)["both"]

    assert of(swapped=False) != of(swapped=True)


def test_ids_of_two_input_operators_are_stable_across_releases():
    # A change here makes every checkpoint of a program without uids unusable.
    program = Program()
    connected(program, [program.source("A")], [program.source("B")], Hash(identity, Types.STRING()))
    assert ids(program)["both"] == "47356501e085af84a8e0ad14dc7a781c"


def test_plans_say_which_input_is_which():
    program = Program()
    connected(program, [program.source("A")], [program.source("B")])
    graph = run_passes(program.build())
    assert stream_graph_text(graph).splitlines()[-2:] == [
        "       <- 1 FORWARD",
        "       <- 2 FORWARD (second input)",
    ]
    assert job_graph_text(compile_job(program.build())).splitlines()[-2:] == [
        "       <- 0 (A) FORWARD",
        "       <- 1 (B) FORWARD (second input)",
    ]
    (node,) = [n for n in json.loads(stream_graph_json(graph))["nodes"] if n["type"] == "both"]
    assert [(p["id"], p["side"]) for p in node["predecessors"]] == [(1, "first"), (2, "second")]
