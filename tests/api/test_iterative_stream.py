"""What iterations take and refuse while the program is built."""

from __future__ import annotations

import pytest

from millstream import JobDefinitionError, StreamExecutionEnvironment
from millstream.operators.iteration import LOOP_CONTROL
from millstream.runtime.graph.compiler import compile_job, run_passes


@pytest.fixture
def env():
    return StreamExecutionEnvironment.get_execution_environment().set_parallelism(2)


def by_kind(graph, kind):
    return [node for node in graph.nodes if node.operator.kind == kind]


@pytest.mark.parametrize(
    ("close", "match"),
    [
        (lambda env, it: it.close_with(env.from_collection([1])), "does not come from this iteration"),
        (lambda env, it: it.close_with([1]), "not a stream of the same environment"),
        (lambda env, it: it.close_with(it.map(str, str)), "STRING"),
        (lambda env, it: it.iterate(-1), "max_wait_time"),
    ],
)
def test_what_cannot_be_a_loop_is_refused(env, close, match) -> None:
    iteration = env.from_collection([1], int).iterate()
    with pytest.raises(JobDefinitionError, match=match):
        close(env, iteration)


def test_an_iteration_that_is_never_closed_is_refused(env) -> None:
    env.from_collection([1]).iterate().print()
    with pytest.raises(JobDefinitionError, match="nothing feeds records back"):
        compile_job(env.get_stream_graph())


def test_both_ends_of_a_loop_share_parallelism_and_slots_whatever_its_body_has(env) -> None:
    iteration = env.from_collection([1]).iterate().set_parallelism(3).slot_sharing_group("loop")
    iteration.close_with(iteration.map(lambda n: n).set_parallelism(1).slot_sharing_group("body"))
    graph = run_passes(env.get_stream_graph())
    (head,), (tail,) = by_kind(graph, "IterationHead"), by_kind(graph, "IterationTail")
    assert (
        (tail.parallelism, tail.slot_sharing_group)
        == (3, "loop")
        == (head.parallelism, head.slot_sharing_group)
    )
    assert tail.operator.head == head.operator_id


def test_several_feedback_streams_share_a_tail_that_comes_last(env) -> None:
    iteration = env.from_collection([1]).iterate()
    first, second = iteration.map(lambda n: n), iteration.map(lambda n: -n)
    iteration.close_with(first)
    iteration.close_with(second)
    second.print()
    graph = run_passes(env.get_stream_graph())
    (tail,) = by_kind(graph, "IterationTail")
    assert graph.nodes[-1] == tail
    assert [edge.side_output for edge in graph.inputs_of(tail.node_id)] == [None, None, LOOP_CONTROL]


def test_loops_that_reach_each_other_are_one_group_and_others_are_not(env) -> None:
    outer = env.from_collection([1]).iterate()
    inner = outer.map(lambda n: n).iterate()
    inner.close_with(inner.map(lambda n: n))
    outer.close_with(inner.map(lambda n: n))
    behind = inner.iterate()
    behind.close_with(behind.map(lambda n: n))
    heads = by_kind(run_passes(env.get_stream_graph()), "IterationHead")
    assert [head.operator.root for head in heads] == [True, False, True]
    first, second, third = (head.operator.group for head in heads)
    assert first == second != third


def test_a_second_job_that_reads_a_loop_takes_all_of_it_along(env) -> None:
    iteration = env.from_collection([1]).iterate()
    body = iteration.map(lambda n: n)
    iteration.close_with(body)
    env._builder.start_next_job()
    body.print()
    assert len(by_kind(env.get_stream_graph(), "IterationTail")) == 1
