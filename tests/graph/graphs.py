"""Small programs for the compiler's tests, written without the API above it."""

from dataclasses import replace

from millstream.connectors.collection import CollectionSource
from millstream.core.types import GENERIC, Types
from millstream.operators.source import SourceSpec
from millstream.operators.stateless import MapSpec
from millstream.operators.watermark_strategy import WatermarkStrategy
from millstream.operators.window import ReducedContents, WindowSpec
from millstream.operators.windowing import TumblingEventTimeWindows
from millstream.runtime.graph.builder import StreamGraphBuilder, StreamInput, new_node
from millstream.runtime.graph.stream_graph import Hash, JobSettings


def identity(value):
    return value


class Program:
    """Declares operators in few words; each method returns the node's id."""

    def __init__(self, **settings):
        self.builder = StreamGraphBuilder()
        self.settings = JobSettings(**{"name": "test", "parallelism": 2, **settings})

    def source(self, name="source", parallelism=None, values=(), **changes):
        spec = SourceSpec(WatermarkStrategy.no_watermarks())
        node = new_node(
            name,
            spec,
            GENERIC,
            defined_at="job.py:1",
            source=CollectionSource(values),
            parallelism=parallelism,
        )
        return self.builder.add_source(replace(node, **changes))

    def map(self, *inputs, name="map", operator=None, partitioner=None, side_output=None, **changes):
        node = replace(
            new_node(name, operator or MapSpec(identity), GENERIC, defined_at="job.py:2"), **changes
        )
        streams = [StreamInput(i, GENERIC, side_output, partitioner) for i in inputs]
        return self.builder.add_operator(node, streams)

    def window(self, *inputs, name="window", function=max, **changes):
        spec = WindowSpec(
            key_selector=identity,
            key_type=Types.STRING(),
            assigner=TumblingEventTimeWindows.of(10),
            contents=ReducedContents(function, GENERIC),
        )
        return self.map(
            *inputs, name=name, operator=spec, partitioner=Hash(identity, Types.STRING()), **changes
        )

    def build(self, **settings):
        return self.builder.build(replace(self.settings, **settings))
