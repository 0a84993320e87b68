"""Streams that are computed by one job and read by later ones."""

from __future__ import annotations

import atexit
import os
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from .connectors.cache import CacheSource, complete_parts
from .core.configuration import options
from .core.types import TypeInformation
from .core.workdir import WorkDir, create_work_dir, remove_tree
from .data_stream import DataStream
from .operators.cache import CacheSpec
from .operators.source import SourceSpec
from .operators.watermark_strategy import WatermarkStrategy

if TYPE_CHECKING:
    from .environment import StreamExecutionEnvironment
    from .runtime.graph.builder import StreamGraphBuilder

T = TypeVar("T")


class CachedDataStream(DataStream[T]):
    """A stream whose records the first job that needs them writes to local files; later jobs of the environment read those.

    Made by `DataStream.cache`. Jobs have to run in BATCH mode; another is refused with JobDefinitionError when it is executed. A job
    that fails leaves nothing that is used, and one that restarts caches what its last attempt computed, so later jobs read each record once.
    Timestamps are cached too; the order of the subtasks' records among each other is not kept. The files are removed when the
    environment is closed and when the program ends.

    >>> from millstream import RuntimeExecutionMode, StreamExecutionEnvironment
    >>> env = StreamExecutionEnvironment.get_execution_environment().set_runtime_mode(RuntimeExecutionMode.BATCH)
    >>> squares = env.from_collection([1, 2, 3]).map(lambda number: number * number).cache()
    >>> sorted(squares.execute_and_collect())
    [1, 4, 9]
    >>> sorted(squares.map(str).execute_and_collect())  # computes no square again
    ['1', '4', '9']
    >>> env.close()
    """

    def invalidate(self) -> None:
        """Remove the files; the next job that needs the stream computes it anew. Call it when no job reads them: one that does
        fails with ConnectorError. Nothing happens where nothing has been computed."""
        self._environment._caches.invalidate(self._inputs[0].node_id)


class Caches:
    """The cached streams of an environment, and the folder they live in, which is made when there is one.

    Args:
        environment: whose configuration says where temporary files go.
        builder: in its graph, streams that have been computed are replaced by sources.
    """

    def __init__(self, environment: StreamExecutionEnvironment, builder: StreamGraphBuilder) -> None:
        self._environment = weakref.ref(environment)
        self._builder = builder
        self._folder: Path | None = None
        self._remove: Callable[[], None] | None = None
        self._types: dict[int, TypeInformation[Any]] = {}

    def add(self, stream: DataStream[T]) -> CachedDataStream[T]:
        """The stream as a cached one."""
        made = self._folder_of_all() / str(len(self._types))
        type_info = stream.get_type()
        cached = stream._then("Cache", CacheSpec(str(made), type_info), type_info)
        node_id = cached._inputs[0].node_id
        self._types[node_id] = type_info
        return CachedDataStream(stream.get_execution_environment(), cached._inputs, type_info)

    def refresh(self) -> None:
        """Streams that jobs have computed since the last call are sources from now on."""
        for node_id, type_info in self._types.items():
            spec = self._builder.node(node_id).operator
            parts = complete_parts(Path(spec.folder)) if isinstance(spec, CacheSpec) else None
            if parts is not None:
                source = CacheSource(tuple(map(str, parts)), type_info)
                self._builder.replace_by_source(
                    node_id, source, SourceSpec(WatermarkStrategy.no_watermarks())
                )

    def invalidate(self, node_id: int) -> None:
        """See `CachedDataStream.invalidate`."""
        node = self._builder.restore_operator(node_id)
        if isinstance(node.operator, CacheSpec):
            remove_tree(Path(node.operator.folder))

    def close(self) -> None:
        """Remove everything; cached streams are computed anew when they are needed again."""
        for node_id in self._types:
            self.invalidate(node_id)
        if self._remove is not None:
            atexit.unregister(self._remove)
            self._remove()
            self._remove = None

    def _folder_of_all(self) -> Path:
        if self._folder is None or not self._folder.exists():
            environment = self._environment()
            assert environment is not None, "the stream that is cached holds it"
            folders = environment.get_configuration().get(options.TMP_DIRS)
            work_dir = create_work_dir(folders[0] if folders else None)
            self._folder = work_dir.path
            self._remove = partial(_remove, work_dir, os.getpid())
            # Not with the environment's last reference: jobs in the background do not hold it.
            atexit.register(self._remove)
        return self._folder


def _remove(work_dir: WorkDir, owner: int) -> None:
    if os.getpid() == owner:  # and not in a process that the program forked
        work_dir.remove()
