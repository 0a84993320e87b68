"""Jobs as bytes: what workers get, and what is said when that cannot be."""

import enum
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass
from functools import partial

import pytest

from millstream.connectors.collection import CollectionSource, CollectionSplit
from millstream.core.errors import SerializationSetupError
from millstream.operators.functions import MapFunction
from millstream.operators.stateless import MapSpec
from millstream.runtime.graph.artifact import decode_job, encode_job
from millstream.runtime.graph.compiler import compile_job
from millstream.runtime.graph.stream_graph import Custom
from tests.graph.graphs import Program, identity


def job_with(function):
    program = Program()
    program.map(program.source(), name="enrich", operator=MapSpec(function), defined_at="job.py:12")
    return compile_job(program.build())


def function_of(job):
    return job.vertices[0].operators[1].operator.function


def test_a_job_comes_back_with_fresh_functions():
    factor = 3
    job = job_with(lambda value: value * factor)
    copy = decode_job(encode_job(job))
    assert function_of(copy)(14) == 42
    assert function_of(copy) is not function_of(job)
    assert [vertex.name for vertex in copy.vertices] == [vertex.name for vertex in job.vertices]


def test_an_object_is_copied_with_its_state():
    class Offset(MapFunction):
        def __init__(self, offset):
            self.offset = offset

        def map(self, value):
            return value + self.offset

    copy = function_of(decode_job(encode_job(job_with(Offset(5)))))
    assert copy.map(1) == 6


def in_a_fresh_process(program, data):
    """Run `program` with `data` as standard input; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], input=data, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def test_record_classes_made_in_a_function_are_known_by_name_where_the_job_is_read():
    class Colour(enum.Enum):
        RED = 1

    @dataclass
    class Event:
        colour: Colour

    def make(value):
        return Event(Colour(value))

    from millstream.core.types import GENERIC

    data = encode_job(job_with(make))
    record = GENERIC.serializer().dumps(Event(Colour.RED))
    program = """
        import sys
        from millstream.core.types import GENERIC
        from millstream.runtime.graph.artifact import decode_job
        data = sys.stdin.buffer.read()
        job_bytes, record = data[:{cut}], data[{cut}:]
        job = decode_job(job_bytes)
        event = GENERIC.serializer().loads(record)
        made = job.vertices[0].operators[1].operator.function(1)
        assert type(made) is type(event) and made == event, (made, event)
        print(event)
    """.format(cut=len(data))
    assert "Colour.RED" in in_a_fresh_process(program, data + record)


def test_records_of_a_collection_make_their_classes_known():
    class Colour(enum.Enum):
        RED = 1

    @dataclass
    class Event:
        colour: Colour
        number: int

    program = Program()
    program.map(program.source(values=[Event(Colour.RED, number) for number in range(25_000)]))
    data = encode_job(compile_job(program.build()))
    printed = in_a_fresh_process(
        """
        import sys
        from millstream.core.types import GENERIC
        from millstream.core.clock import SystemClock
        from millstream.connectors.base import SourceReaderContext
        from millstream.connectors.collection import CollectionSplit
        from millstream.runtime.graph.artifact import decode_job
        source = decode_job(sys.stdin.buffer.read()).vertices[0].operators[0].source
        reader = source.create_reader(SourceReaderContext(0, 1, "job", SystemClock()))
        reader.start()
        reader.add_splits([CollectionSplit(24_999)])
        (event,) = reader.poll_next(10).values
        print(event.number, GENERIC.serializer().loads(GENERIC.serializer().dumps(event)) == event)
        """,
        data,
    )
    assert printed == "24999 True"


def test_a_recursive_record_class_travels():
    @dataclass
    class Node:
        children: "list[Node]"

    copy = decode_job(encode_job(job_with(lambda value: Node([Node([])]))))
    assert len(function_of(copy)(0).children) == 1


class Connected(MapFunction):
    def __init__(self):
        self.pool = {"main": [threading.Lock()]}

    def map(self, value):
        return value


LOCK = threading.Lock()


def uses_a_global(value):
    return LOCK.locked()


def test_a_captured_object_that_cannot_travel_is_named_with_its_path_and_the_users_line():
    lock = threading.Lock()

    def enrich(value):
        with lock:
            return value

    with pytest.raises(SerializationSetupError) as caught:
        encode_job(job_with(enrich))
    text = str(caught.value)
    assert "operator 'enrich' cannot be sent to the workers" in text
    assert "variable 'lock'" in text
    assert "enrich' (" in text
    assert "test_artifact.py:" in text
    assert "job.py:12" in text
    assert "open(runtime_context)" in caught.value.fix


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (Connected, "Connected object, attribute 'pool', entry 'main', element 0"),
        (lambda: Connected().map, "object of Connected, attribute 'pool', entry 'main', element 0"),
        (lambda: partial(max, key=threading.Lock()), "argument 'key' of the partial"),
        (lambda: lambda value, lock=LOCK: value, "default argument lock"),
        (lambda: (number for number in ()), "generator object"),
    ],
    ids=["attribute", "bound method", "partial", "default", "generator"],
)
def test_the_path_leads_through(make, path):
    with pytest.raises(SerializationSetupError) as caught:
        encode_job(job_with(make()))
    assert path in caught.value.what


def test_a_partitioner_that_cannot_travel_is_named_with_the_operator_before_it():
    lock = threading.Lock()
    program = Program()
    before = program.map(program.source(), name="before")
    program.map(before, partitioner=Custom(lambda key, count: lock.locked(), identity))
    with pytest.raises(SerializationSetupError, match=r"operator 'before' cannot be sent.*'lock'"):
        encode_job(compile_job(program.build()))


def test_a_function_of_an_importable_module_travels_by_name():
    assert function_of(decode_job(encode_job(job_with(uses_a_global)))) is uses_a_global


def test_a_job_that_stays_in_its_process_does_not_copy_its_collections() -> None:
    values = [object()] * 3  # cannot be told apart once copied
    source = CollectionSource(values)
    program = Program()
    program.map(program.source(source=source))
    job = decode_job(encode_job(compile_job(program.build()), in_process=True))
    reader = job.vertices[0].operators[0].source.create_reader(None)
    reader.add_splits([CollectionSplit()])
    assert reader.poll_next(10).values[0] is values[0]
