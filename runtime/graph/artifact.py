"""The job as bytes: what the client hands to the workers. Everything in it is trusted code; links are authenticated first.

Classes that travel inside (those of `__main__` and those made in functions) cannot be imported by the workers. Records of such
classes are encoded under the class's name, so the artefact lists them, and reading it makes them known.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator
from types import CodeType, ModuleType
from typing import Any
from weakref import WeakValueDictionary

import cloudpickle
import msgspec

from ...connectors.collection import _CHUNK, CollectionData, _from_chunks
from ...core.errors import SerializationSetupError
from ...core.types import register_classes
from ...core.types.classes import class_name, is_enum_class, is_record_class
from .job_graph import ChainedOperator, JobGraph
from .struct_classes import reduce_meta, reduce_struct_class
from .unpicklable import find_unpicklable

_PREPARATIONS: list[Callable[[], None]] = []
"""What each process that decodes a job of this one calls before. Of this process; grows while programs are loaded."""


def prepare_processes(function: Callable[[], None]) -> None:
    """Call `function` in every process that gets a job of this one, before anything of the job is decoded there.

    Args:
        function: of a module of Millstream's, since only its name travels; calling it again must do no harm.
    """
    if function not in _PREPARATIONS:
        _PREPARATIONS.append(function)


def encode_job(job: JobGraph, *, in_process: bool = False) -> bytes:
    """The job with all its functions. Record classes that travel by value are also made known in this process.

    Args:
        in_process: the job is decoded in this very process, while `job` exists: collections are not copied.

    Raises:
        SerializationSetupError: something in it cannot travel; names the operator, the function, and the variable or
            attribute at fault.
    """
    buffer = io.BytesIO()
    pickler = (_LendingPickler if in_process else _ClassCollectingPickler)(buffer)
    try:
        pickle.dump(_PREPARATIONS, buffer, protocol=pickle.HIGHEST_PROTOCOL)
        pickler.dump(job)
        for classes in pickler.take_classes():  # one memo for all dumps, so that a class stays one class
            pickler.dump([(cls, cls.__qualname__) for cls in classes])
            register_classes(classes)
    except Exception as error:  # whatever the user's own __reduce__ raises
        raise _setup_error(job, error) from error
    return buffer.getvalue()


def decode_job(data: bytes) -> JobGraph:
    """The inverse of `encode_job`; registers the classes that came along."""
    stream = io.BytesIO(data)
    for prepare in pickle.load(stream):
        prepare()
    unpickler = _Unpickler(stream)
    job: JobGraph = unpickler.load()
    while named := unpickler.load():
        for cls, qualname in named:
            cls.__qualname__ = (
                qualname  # cloudpickle keeps the last part only, but records carry the whole name
            )
        register_classes(cls for cls, _ in named)
    return job


class _ClassCollectingPickler(cloudpickle.Pickler):  # type: ignore[misc]  # published without types
    """Remembers the record classes it pickles by value."""

    def __init__(self, buffer: io.BytesIO) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self._seen: set[str] = set()
        self._new: list[type] = []

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is CodeType:
            make, arguments = self.dispatch_table[CodeType](obj)
            return _code_from_file, (make, arguments, obj.co_filename)
        if type(obj) is CollectionData:
            return _from_chunks, ([self._dump_apart(*chunk) for chunk in _chunks_of(obj)], obj.length)
        if type(obj) is msgspec.Meta:
            return reduce_meta(obj)
        reduced = super().reducer_override(obj)
        if (
            isinstance(reduced, tuple)
            and (is_record_class(obj) or is_enum_class(obj))
            and class_name(obj) not in self._seen  # a frozen dataclass with slots refers to one of its name
        ):
            self._seen.add(class_name(obj))
            self._new.append(obj)
        if isinstance(reduced, tuple) and isinstance(obj, type) and issubclass(obj, msgspec.Struct):
            return reduce_struct_class(obj)
        return reduced

    def _dump_apart(self, values: list[Any], timestamps: list[int] | None) -> bytes:
        """A chunk of a collection: decoded later and by itself, but its records' classes count all the same."""
        buffer = io.BytesIO()
        pickler = _ClassCollectingPickler(buffer)
        pickler._seen, pickler._new = self._seen, self._new
        pickler.dump((values, timestamps))
        return buffer.getvalue()

    def take_classes(self) -> Iterator[list[type]]:
        """Lists of classes not taken yet, while pickling them goes on to find more; an empty list ends it."""
        while True:
            classes, self._new = self._new, []
            yield classes
            if not classes:
                return


def _code_from_file(make: Callable[..., CodeType], arguments: tuple[Any, ...], filename: str) -> CodeType:
    """The code with the name of its file, which cloudpickle leaves out from 3.1.3 on: tracebacks end in the user's own line."""
    return make(*arguments).replace(co_filename=filename)


def _chunks_of(data: CollectionData[Any]) -> Iterator[tuple[list[Any], list[int] | None]]:
    for start in range(0, data.length, _CHUNK):
        values: list[Any] = []
        timestamps: list[int] = []
        stop = min(start + _CHUNK, data.length)
        while start + len(values) < stop:  # a slice ends where a piece of the collection does
            more_values, more_timestamps = data.slice(start + len(values), stop)
            values += more_values
            timestamps += more_timestamps or ()
        yield values, timestamps or None


_LENT: WeakValueDictionary[int, CollectionData[Any]] = WeakValueDictionary()
"""Collections of jobs that run in this process, by `id`."""


class _LendingPickler(_ClassCollectingPickler):
    """Leaves out what the same process can use where it is."""

    def persistent_id(self, obj: Any) -> int | None:
        if type(obj) is not CollectionData:
            return None
        _LENT[id(obj)] = obj
        return id(obj)


class _Unpickler(pickle.Unpickler):
    def persistent_load(self, pid: int) -> CollectionData[Any]:
        return _LENT[pid]


def _setup_error(job: JobGraph, error: Exception) -> SerializationSetupError:
    for operator in (operator for vertex in job.vertices for operator in vertex.operators):
        for part in (operator.source, *operator.operator.user_functions(), operator.operator):
            found = find_unpicklable(part)
            if found is not None:
                return _operator_error(operator, *found)
    for edge in job.edges:
        found = find_unpicklable(getattr(edge.partitioner, "function", None))
        if found is not None:
            return _operator_error(job.vertices[edge.source].operators[edge.source_operator], *found)
    return SerializationSetupError(
        f"the job cannot be sent to the workers: {error}",
        where=f"job '{job.settings.name}'",
        fix="look for objects in it that belong to this process: connections, locks, files, generators, modules",
    )


def _operator_error(
    operator: ChainedOperator, path: str, culprit: Any, reason: str
) -> SerializationSetupError:
    advice = (
        "import the module inside the function"
        if isinstance(culprit, ModuleType)
        else "make it where the function runs, in open(runtime_context) of a function class, instead of capturing it"
    )
    return SerializationSetupError(
        f"operator '{operator.name}' cannot be sent to the workers: {path}: {reason}",
        where=f"operator '{operator.name}'" + (f" ({operator.defined_at})" if operator.defined_at else ""),
        fix=f"a {type(culprit).__name__} belongs to this process: {advice}",
    )
