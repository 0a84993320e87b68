"""Two streams read by one operator: connected, keyed or not, or one of them broadcast to every subtask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._functions import check_function, definition_error, result_type
from .core.call_site import user_line
from .core.types import GENERIC, TypeInformation, as_type
from .data_stream import DataStream
from .keyed_stream import KeyedStream
from .operators.broadcast_functions import BroadcastProcessFunction, KeyedBroadcastProcessFunction
from .operators.co_functions import (
    CoFlatMapFunction,
    CoMapFunction,
    CoProcessFunction,
    KeyedCoProcessFunction,
)
from .operators.functions import Function
from .runtime.graph.builder import StreamInput, new_node
from .runtime.graph.stream_graph import Hash
from .state.descriptors import MapStateDescriptor

if TYPE_CHECKING:
    from .environment import StreamExecutionEnvironment
    from .operators.base import OperatorSpec
    from .operators.functions import KeySelector

T1 = TypeVar("T1")
T2 = TypeVar("T2")
R = TypeVar("R")
K = TypeVar("K")


class ConnectedStreams(Generic[T1, T2]):
    """Two streams whose records one operator processes, each with a method of its own. Made by `DataStream.connect`.

    If both are keyed, records of both with the same key meet in one subtask and share the state of the key. The watermark
    is the lesser of theirs. Nothing is promised about the order of records between the two, so that it may be another one on
    replay. Results carry the timestamp of the record, or the time of the timer, that they come of.

    >>> from millstream import CoMapFunction, StreamExecutionEnvironment
    >>> class Label(CoMapFunction):
    ...     def map1(self, value):
    ...         return f"number {value}"
    ...     def map2(self, value):
    ...         return f"word {value}"
    >>> env = StreamExecutionEnvironment.get_execution_environment()
    >>> both = env.from_collection([1, 2]).connect(env.from_collection(["a"])).map(Label())
    >>> sorted(both.execute_and_collect())
    ['number 1', 'number 2', 'word a']
    """

    def __init__(self, stream1: DataStream[T1], stream2: DataStream[T2]) -> None:
        self.stream1 = stream1
        self.stream2 = stream2

    def key_by(
        self,
        key_selector1: Callable[[T1], K] | KeySelector[T1, K],
        key_selector2: Callable[[T2], K] | KeySelector[T2, K],
        key_type: TypeInformation[K] | type[K] | None = None,
    ) -> ConnectedStreams[T1, T2]:
        """The same two streams, both partitioned by key; keys they had before are replaced.

        Args:
            key_selector1, key_selector2: a `KeySelector` object, or a callable, for each stream.
            key_type: of the keys of both; inferred from the return hints if omitted, generic without one.

        Raises:
            JobDefinitionError: a selector cannot be called with one record, or the types of the keys differ.
        """
        connected = ConnectedStreams(
            DataStream.key_by(_unkeyed(self.stream1), key_selector1, key_type),
            DataStream.key_by(_unkeyed(self.stream2), key_selector2, key_type),
        )
        connected._key_type()
        return connected

    def map(
        self, func: CoMapFunction[T1, T2, R], output_type: TypeInformation[R] | type[R] | None = None
    ) -> DataStream[R]:
        """One result per record of either stream; a result of None is none. A function with an `open` method may use keyed state
        if both are keyed.

        Args:
            output_type: type of the results; what the return hints of both methods agree on if omitted, else generic.

        Raises:
            JobDefinitionError: `func` is no CoMapFunction, or one of its methods cannot be called with one record.
        """
        from .operators.co_process import OnCoMap

        _require(func, (CoMapFunction,), "map()")
        type_info = _common_result_type(func, ("map1", "map2"), output_type, arguments=1, many=False)
        return self._process("Co-Map", OnCoMap(func), type_info, keyed=_has_open(func))

    def flat_map(
        self, func: CoFlatMapFunction[T1, T2, R], output_type: TypeInformation[R] | type[R] | None = None
    ) -> DataStream[R]:
        """Any number of results per record of either stream: a list, a generator, None for nothing. State and `output_type` as in
        `map`.

        Raises:
            JobDefinitionError: `func` is no CoFlatMapFunction, or one of its methods cannot be called with one record.
        """
        from .operators.co_process import OnCoFlatMap

        _require(func, (CoFlatMapFunction,), "flat_map()")
        type_info = _common_result_type(func, ("flat_map1", "flat_map2"), output_type, arguments=1)
        return self._process("Co-Flat Map", OnCoFlatMap(func), type_info, keyed=_has_open(func))

    def process(
        self,
        func: CoProcessFunction[T1, T2, R] | KeyedCoProcessFunction[Any, T1, T2, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results and side outputs per record of either stream, with keyed state and timers if both are keyed.

        Both methods of the function are called in one thread, by one object in each subtask. `output_type` as in `map`.

        Raises:
            JobDefinitionError: `func` is of another class, needs keys that the streams do not have, or one of its methods cannot
                be called with a record and a context.
        """
        _require(func, (CoProcessFunction, KeyedCoProcessFunction), "process()")
        if isinstance(func, KeyedCoProcessFunction) and not self._is_keyed:
            raise definition_error(
                "a KeyedCoProcessFunction was given to the process() of streams that are not both keyed",
                fix="call key_by(selector1, selector2) before process(...), or derive the function from CoProcessFunction",
            )
        type_info = _common_result_type(
            func, ("process_element1", "process_element2"), output_type, arguments=2
        )
        name = "Co-Keyed-Process" if isinstance(func, KeyedCoProcessFunction) else "Co-Process"
        return self._process(name, func, type_info, keyed=True)

    @property
    def _is_keyed(self) -> bool:
        return isinstance(self.stream1, KeyedStream) and isinstance(self.stream2, KeyedStream)

    def _process(
        self, name: str, function: Any, type_info: TypeInformation[Any], *, keyed: bool
    ) -> DataStream[Any]:
        from .operators.co_process import CoProcessSpec, KeyedCoProcessSpec

        stream1, stream2 = self.stream1, self.stream2
        inputs1, inputs2 = stream1._inputs, stream2._inputs
        spec: OperatorSpec = CoProcessSpec(function)
        if isinstance(stream1, KeyedStream) and isinstance(stream2, KeyedStream):
            key_type = self._key_type()
            inputs1, inputs2 = rekeyed(stream1, key_type), rekeyed(stream2, key_type)
            if keyed:
                spec = KeyedCoProcessSpec(stream1._key_selector, stream2._key_selector, key_type, function)
        return two_input_stream(stream1._environment, name, spec, type_info, (inputs1, inputs2))

    def _key_type(self) -> TypeInformation[Any]:
        assert isinstance(self.stream1, KeyedStream)
        assert isinstance(self.stream2, KeyedStream)
        return common_key_type(self.stream1, self.stream2)


class BroadcastStream(Generic[T1]):
    """A stream whose every record goes to every subtask, and the states that are made of them. Made by
    `DataStream.broadcast(*descriptors)`; to be connected with another stream.

    Raises:
        JobDefinitionError: something else than a MapStateDescriptor is given, or a name twice.
    """

    def __init__(
        self,
        input_stream: DataStream[T1],
        broadcast_state_descriptors: Sequence[MapStateDescriptor[Any, Any]],
    ) -> None:
        for descriptor in broadcast_state_descriptors:
            if not isinstance(descriptor, MapStateDescriptor):
                raise definition_error(
                    f"broadcast() was given {descriptor!r}, which is not a MapStateDescriptor",
                    fix="broadcast state is a map: write for example broadcast(MapStateDescriptor('rules', str, int))",
                )
            if descriptor.ttl_config is not None and descriptor.ttl_config.is_enabled():
                raise definition_error(
                    f"the broadcast state '{descriptor.name}' was declared with time-to-live, which only keyed state can have",
                    fix="leave enable_time_to_live out, and remove entries in process_broadcast_element",
                )
        names = [descriptor.name for descriptor in broadcast_state_descriptors]
        if len(set(names)) < len(names):
            raise definition_error(
                f"two broadcast states have one name: {', '.join(sorted(names))}",
                fix="give each state a name of its own",
            )
        self.input_stream = input_stream
        self.broadcast_state_descriptors = tuple(broadcast_state_descriptors)


class BroadcastConnectedStream(Generic[T1, T2]):
    """A stream, keyed or not, connected with a broadcast stream. Made by `DataStream.connect`."""

    def __init__(self, non_broadcast_stream: DataStream[T1], broadcast_stream: BroadcastStream[T2]) -> None:
        self.non_broadcast_stream = non_broadcast_stream
        self.broadcast_stream = broadcast_stream

    def process(
        self,
        func: BroadcastProcessFunction[T1, T2, R] | KeyedBroadcastProcessFunction[Any, T1, T2, R],
        output_type: TypeInformation[R] | type[R] | None = None,
    ) -> DataStream[R]:
        """Any number of results and side outputs per record; broadcast records change the broadcast state.

        The state is kept in memory. Each subtask writes its copy to a checkpoint and takes one copy from it, also at another
        parallelism. Nothing is promised about the order between the two streams, in STREAMING mode: a function that needs a rule
        for its record has to wait for it. In BATCH mode the broadcast records come first.

        Args:
            output_type: type of the results; what the return hints of both methods agree on if omitted, else generic.

        Raises:
            JobDefinitionError: `func` is not a KeyedBroadcastProcessFunction although the stream is keyed, or not a
                BroadcastProcessFunction although it is not, or one of its methods cannot be called with a record and a context.
        """
        from .operators.broadcast import BroadcastProcessSpec, KeyedBroadcastProcessSpec

        stream, states = self.non_broadcast_stream, self.broadcast_stream.broadcast_state_descriptors
        spec: OperatorSpec
        if isinstance(stream, KeyedStream):
            _require(func, (KeyedBroadcastProcessFunction,), "process() of a keyed stream")
            keyed: Any = func
            spec = KeyedBroadcastProcessSpec(stream._key_selector, stream._key_type, keyed, states)
        else:
            _require(func, (BroadcastProcessFunction,), "process() of a stream that is not keyed")
            unkeyed: Any = func
            spec = BroadcastProcessSpec(unkeyed, states)
        methods = ("process_element", "process_broadcast_element")
        type_info = _common_result_type(func, methods, output_type, arguments=2)
        inputs = (stream._inputs, self.broadcast_stream.input_stream._inputs)
        return two_input_stream(stream._environment, spec.kind, spec, type_info, inputs)


def connect(stream: DataStream[Any], other: Any) -> Any:
    """The body of `DataStream.connect`."""
    partner = other.input_stream if isinstance(other, BroadcastStream) else other
    check_same_environment(stream, partner, "connect()")
    if isinstance(other, BroadcastStream):
        return BroadcastConnectedStream(stream, other)
    return ConnectedStreams(stream, other)


def check_same_environment(stream: DataStream[Any], other: Any, caller: str) -> None:
    """Refuse what is no stream of the same environment.

    Raises:
        JobDefinitionError: with the user's line.
    """
    if not isinstance(other, DataStream):
        raise definition_error(
            f"{caller} was given {other!r}, which is not a stream", fix="pass a DataStream"
        )
    if other._environment is not stream._environment:
        raise definition_error(
            f"{caller} was given a stream of another environment",
            fix="make both streams with one StreamExecutionEnvironment",
        )


def common_key_type(stream1: KeyedStream[Any, Any], stream2: KeyedStream[Any, Any]) -> TypeInformation[Any]:
    """The type of the keys of both; what only one of them declares holds for both.

    Raises:
        JobDefinitionError: they declare different ones, so that equal keys could go to different subtasks.
    """
    type1, type2 = stream1.get_key_type(), stream2.get_key_type()
    if type1 == type2:
        return type1
    if GENERIC in (type1, type2):
        return type2 if type1 == GENERIC else type1
    raise definition_error(
        f"the keys of the two streams are of different types: {type1} and {type2}",
        fix="give both the same key_type, and have the key selectors return it",
    )


def rekeyed(stream: KeyedStream[Any, Any], key_type: TypeInformation[Any]) -> tuple[StreamInput, ...]:
    """The inputs of a keyed stream with this type of keys."""
    return tuple(
        replace(i, partitioner=Hash(i.partitioner.key_selector, key_type))
        if isinstance(i.partitioner, Hash)
        else i
        for i in stream._inputs
    )


def two_input_stream(
    environment: StreamExecutionEnvironment,
    name: str,
    spec: OperatorSpec,
    type_info: TypeInformation[Any],
    inputs: tuple[Sequence[StreamInput], Sequence[StreamInput]],
) -> DataStream[Any]:
    """The stream of what a two-input operator makes of the records of both inputs."""
    node = new_node(name, spec, type_info, defined_at=user_line())
    first, second = inputs
    numbered = [*first, *(replace(i, input_id=2) for i in second)]
    node_id = environment._builder.add_operator(node, numbered)
    return DataStream(environment, [StreamInput(node_id, type_info)], type_info)


def _unkeyed(stream: DataStream[T1]) -> DataStream[T1]:
    return DataStream(stream._environment, stream._plain_inputs(), stream._type)


def _require(func: Any, classes: tuple[type, ...], caller: str) -> None:
    wanted = " or a ".join(cls.__name__ for cls in classes)
    if isinstance(func, type) and issubclass(func, classes):
        raise definition_error(
            f"{caller} was given the class {func.__qualname__}, not an object of it",
            fix=f"write {func.__qualname__}(...)",
        )
    if not isinstance(func, classes):
        raise definition_error(
            f"{caller} was given {func!r}, which is not a {wanted}",
            fix=f"pass an object of a class derived from {wanted}",
        )


def _has_open(func: Function) -> bool:
    """Whether it has an `open` of its own, and so may ask for keyed state."""
    return type(func).open is not Function.open


def _common_result_type(
    func: Any, methods: tuple[str, str], declared: Any, *, arguments: int, many: bool = True
) -> TypeInformation[Any]:
    """The declared type, or what the hints of both methods agree on, or the generic one.

    Raises:
        JobDefinitionError: a method cannot be called with so many arguments.
    """
    for method in methods:
        check_function(func, method, f"{type(func).__name__}.{method}", arguments)
    if declared is not None:
        return as_type(declared)
    first, second = (result_type(func, method, None, many=many) for method in methods)
    return first if first == second else GENERIC
