"""The compiler's passes, one by one."""

import pytest

from millstream.core.errors import JobDefinitionError
from millstream.runtime.graph.compiler import run_passes
from millstream.runtime.graph.stream_graph import Broadcast, Forward, Hash, Rebalance
from millstream.state.descriptors import ListStateDescriptor
from tests.graph.graphs import Program


def partitioners(graph):
    return [type(edge.partitioner) for edge in graph.edges]


def names(graph):
    return [node.name for node in graph.nodes]


def test_a_program_with_nothing_but_sources_is_refused_as_in_flink():
    program = Program()
    program.source()
    with pytest.raises(JobDefinitionError, match="No operators defined"):
        run_passes(program.build())


def test_a_source_nobody_reads_is_not_part_of_the_job():
    program = Program()
    program.source("unused")
    program.map(program.source("used"))
    assert names(program.build()) == ["used", "map"]


def test_a_second_job_takes_along_what_it_reads_of_the_first_but_not_its_operators():
    program = Program()
    source = program.source()
    first = program.map(source, name="first")
    program.map(first, name="ending the first job")
    program.builder.start_next_job()
    program.map(first, name="second")
    assert names(program.build()) == ["source", "first", "second"]


def test_two_operators_with_one_uid_are_refused_naming_both_lines():
    program = Program()
    source = program.source()
    program.map(source, uid="same", defined_at="job.py:7")
    program.map(source, uid="same", defined_at="job.py:9")
    with pytest.raises(JobDefinitionError, match="'same'") as caught:
        run_passes(program.build())
    assert "job.py:7" in caught.value.where
    assert "job.py:9" in caught.value.where


def test_a_parallelism_above_the_maximum_is_refused():
    program = Program(max_parallelism=4)
    program.map(program.source(), parallelism=5)
    with pytest.raises(JobDefinitionError, match="larger than the maximum parallelism 4"):
        run_passes(program.build())


def test_operators_without_a_parallelism_get_that_of_the_job():
    program = Program(parallelism=3)
    program.map(program.source(parallelism=1))
    assert [node.parallelism for node in run_passes(program.build()).nodes] == [1, 3]


def test_records_are_forwarded_between_equal_parallelisms_and_rebalanced_otherwise():
    program = Program()
    first = program.map(program.source(parallelism=1))
    program.map(first)
    assert partitioners(run_passes(program.build())) == [Rebalance, Forward]


def test_a_partitioner_the_program_chose_stays():
    program = Program()
    program.map(program.source(), partitioner=Broadcast())
    assert partitioners(run_passes(program.build())) == [Broadcast]


def test_forward_cannot_change_the_parallelism():
    program = Program()
    program.map(program.source(), name="wide", partitioner=Forward(), parallelism=4, defined_at="job.py:3")
    with pytest.raises(JobDefinitionError, match="from 2 to 4") as caught:
        run_passes(program.build())
    assert "job.py:3" in caught.value.where


def test_slot_sharing_groups_are_inherited_where_the_inputs_agree():
    program = Program()
    red = program.source(slot_sharing_group="red")
    blue = program.source(slot_sharing_group="blue")
    program.map(red, name="on red")
    program.map(red, blue, name="on both")
    groups = {node.name: node.slot_sharing_group for node in run_passes(program.build()).nodes}
    assert groups["on red"] == "red"
    assert groups["on both"] == "default"


def test_a_window_is_combined_before_its_exchange():
    program = Program()
    program.window(program.source())
    graph = run_passes(program.build())
    assert names(graph) == ["source", "Local-window", "window"]
    assert partitioners(graph) == [Forward, Hash]
    assert graph.nodes[1].parallelism == 2


def test_each_input_of_a_combined_window_gets_a_combiner_of_its_own():
    program = Program()
    program.window(program.source("a"), program.source("b", parallelism=1))
    graph = run_passes(program.build())
    combiners = [node for node in graph.nodes if node.name == "Local-window"]
    assert [node.parallelism for node in combiners] == [2, 1]
    assert len({node.operator_id for node in graph.nodes}) == len(graph.nodes)


def test_the_combiner_of_a_side_output_reads_it_and_passes_it_on_as_its_main_output():
    program = Program()
    program.window(program.map(program.source()), side_output="late")
    graph = run_passes(program.build())
    assert [edge.side_output for edge in graph.edges] == [None, "late", None]


@pytest.mark.parametrize(
    "settings", [{"local_aggregation": False}, {"parallelism": 1}], ids=["turned off", "nothing to exchange"]
)
def test_there_is_no_combiner_when(settings):
    program = Program()
    program.window(program.source())
    assert names(run_passes(program.build(**settings))) == ["source", "window"]


class CountingMax:
    """Keeps operator state of its own."""

    def initialize_state(self, context):
        self.state = context.get_operator_state_store().get_list_state(ListStateDescriptor("calls", int))
        self.calls = sum(self.state.get())

    def reduce(self, left, right):
        self.calls += 1
        return max(left, right)

    def snapshot_state(self, context):
        self.state.update([self.calls])


def test_there_is_no_combiner_with_a_function_that_keeps_operator_state():
    program = Program()
    program.window(program.source(), function=CountingMax())
    assert names(run_passes(program.build())) == ["source", "window"]
