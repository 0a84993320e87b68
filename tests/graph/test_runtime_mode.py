import pytest

from millstream.connectors.base import Boundedness
from millstream.connectors.collection import CollectionSource
from millstream.core.errors import JobDefinitionError
from millstream.core.types import GENERIC, Types
from millstream.operators.keyed import ReduceByKeySpec, ReduceSpec
from millstream.operators.process import KeyedProcessSpec
from millstream.operators.timestamps import TimestampsSpec
from millstream.operators.watermark_generator import WatermarkGenerator
from millstream.operators.watermark_strategy import WatermarkStrategy
from millstream.runtime.graph.compiler import compile_job, run_passes, to_job_graph
from millstream.runtime.graph.plan import explain_job, stream_graph_json
from millstream.runtime.graph.stream_graph import Forward, Hash
from tests.graph.graphs import Program, identity


class Endless(CollectionSource):
    @property
    def boundedness(self):
        return Boundedness.CONTINUOUS_UNBOUNDED


def program(*sources, **settings):
    made = Program(**settings)
    ids = [made.source(name=f"source {n}", source=source) for n, source in enumerate(sources)]
    made.map(*ids)
    return made


@pytest.mark.parametrize(
    ("asked", "sources", "resolved"),
    [
        ("AUTOMATIC", [CollectionSource(())], "BATCH"),
        ("AUTOMATIC", [CollectionSource(()), Endless(())], "STREAMING"),
        ("AUTOMATIC", [CollectionSource(()), CollectionSource(())], "BATCH"),
        ("BATCH", [CollectionSource(())], "BATCH"),
        ("STREAMING", [CollectionSource(())], "STREAMING"),
        ("STREAMING", [Endless(())], "STREAMING"),
    ],
)
def test_automatic_is_batch_if_every_source_is_bounded(asked, sources, resolved):
    assert compile_job(program(*sources, runtime_mode=asked).build()).settings.runtime_mode == resolved


def test_only_sources_of_the_job_at_hand_count():
    made = program(CollectionSource(()), runtime_mode="AUTOMATIC")
    made.source(source=Endless(()))
    assert compile_job(made.build()).settings.is_batch


def test_an_unbounded_source_in_batch_mode_is_refused_by_name_and_line():
    with pytest.raises(JobDefinitionError, match="never end") as refused:
        run_passes(program(CollectionSource(()), Endless(()), runtime_mode="BATCH").build())
    assert "source 1" in refused.value.where
    assert "job.py:1" in refused.value.where


def keyed(spec, partitioner, **settings):
    made = Program(parallelism=1, **settings)
    made.map(made.map(made.source()), operator=spec, partitioner=partitioner)
    return made.build()


REDUCE = ReduceSpec(identity, Types.STRING(), max, GENERIC)


def test_operators_take_their_batch_form_and_keep_their_ids():
    streaming, batch = (
        run_passes(keyed(REDUCE, Hash(identity, Types.STRING()), runtime_mode=mode))
        for mode in ("STREAMING", "BATCH")
    )
    assert isinstance(streaming.nodes[-1].operator, ReduceSpec)
    assert isinstance(batch.nodes[-1].operator, ReduceByKeySpec)
    assert [node.operator_id for node in streaming.nodes] == [node.operator_id for node in batch.nodes]


def test_in_batch_mode_nothing_is_combined_before_an_exchange():
    made = Program(runtime_mode="BATCH")
    made.window(made.source())
    assert len(run_passes(made.build()).nodes) == 2
    assert len(run_passes(made.build(runtime_mode="STREAMING")).nodes) == 3


def test_a_keyed_operator_in_batch_mode_heads_its_chain_even_behind_a_forward_edge():
    spec = KeyedProcessSpec(identity, Types.STRING(), identity)
    assert len(compile_job(keyed(spec, Forward(), runtime_mode="STREAMING")).vertices) == 1
    chains = [len(v.operators) for v in compile_job(keyed(spec, Forward(), runtime_mode="BATCH")).vertices]
    assert chains == [2, 1]


def test_the_plan_shows_the_mode_and_which_inputs_are_sorted():
    streaming, batch = (
        run_passes(keyed(REDUCE, Hash(identity, Types.STRING()), runtime_mode=mode))
        for mode in ("STREAMING", "AUTOMATIC")
    )
    text = explain_job(batch, to_job_graph(batch))
    assert text.startswith("Job 'test' (BATCH)\n")
    assert "0 (map) HASH, sorted by key\n" in text
    assert '"runtimeMode": "BATCH"' in stream_graph_json(batch)
    assert "BATCH" not in stream_graph_json(streaming)
    assert "BATCH" not in explain_job(streaming, to_job_graph(streaming))


def test_in_batch_mode_nobody_is_asked_for_watermarks():
    strategy = (
        WatermarkStrategy.for_generator(WatermarkGenerator)
        .with_timestamp_assigner(lambda value, _: value)
        .with_idleness(10)
    )
    made = Program(runtime_mode="BATCH")
    source = made.source()
    made.map(source, operator=TimestampsSpec(strategy))
    timestamps = run_passes(made.build()).nodes[1].operator
    assert timestamps.strategy == WatermarkStrategy(None, strategy.timestamp_assigner)
