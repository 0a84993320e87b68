"""The file sink: exactly-once rows in files, under PyFlink's names."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Generic, NoReturn, TypeVar

from ...core.arguments import check_instance, check_int
from ...core.errors import JobDefinitionError
from ..base import SinkWriter, SinkWriterContext
from .buckets import AnyBucketAssigner, BucketAssigner, BucketContext, as_bucket_assigner
from .committer import FileCommittable, FileCommitter
from .encoder import BatchEncoder, as_encoder
from .paths import local_path
from .policies import OutputFileConfig, RollingPolicy
from .writer import FileSinkSettings, FileSinkWriter

T = TypeVar("T")
R = TypeVar("R")


class FileSink(Generic[T]):
    """Writes records to part files in folders ("buckets") under a base path, each record exactly once.

    A part file is hidden (its name begins with a dot) until a checkpoint that covers it completes; then it is renamed, which
    makes it visible at once and whole. So whoever reads the visible files sees every record of the job once, also after
    crashes. Without checkpoints, files become visible only when a bounded job ends. All workers must see the same path.

    A part ends at every checkpoint, also under the default rolling policy, so a checkpoint interval of seconds makes many
    small files.

    >>> sink = FileSink.for_row_format("/data/out", str).build()
    """

    def __init__(self, settings: FileSinkSettings) -> None:
        self._settings = settings

    @staticmethod
    def for_row_format(
        base_path: str | os.PathLike[str], encoder: BatchEncoder[R] | Callable[[R], str | bytes]
    ) -> FileSink.RowFormatBuilder[R]:
        """A builder of a sink that writes row by row.

        Args:
            base_path: folder, made if missing; a relative one is taken from where the program is built.
            encoder: one of `Encoder`'s, or a function from a record to `str` (a line) or `bytes` (as they are).

        Raises:
            JobDefinitionError: the path or the encoder cannot be used.
        """
        return FileSink.RowFormatBuilder(local_path(base_path), as_encoder(encoder))

    @staticmethod
    def for_bulk_format(base_path: str | os.PathLike[str], writer_factory: object) -> NoReturn:
        """Not supported: there are no bulk formats (Parquet, ORC) yet.

        Raises:
            JobDefinitionError: always.
        """
        raise JobDefinitionError(
            f"files in {os.fspath(base_path)} cannot be written with the bulk writer {writer_factory!r}: there are none yet",
            where="FileSink.for_bulk_format",
            fix="write rows with for_row_format(path, encoder)",
        )

    def create_writer(self, context: SinkWriterContext[Any]) -> SinkWriter[T]:
        """Makes the base path.

        Raises:
            ConnectorError: it cannot be made.
        """
        return FileSinkWriter(self._settings, context)

    def create_committer(self) -> FileCommitter:
        """Renames files, on any worker."""
        return FileCommitter()

    def encode_committable(self, committable: FileCommittable) -> bytes:
        """Versioned msgpack."""
        return committable.encode()

    def decode_committable(self, data: bytes) -> FileCommittable:
        """The inverse of `encode_committable`."""
        return FileCommittable.decode(data)

    class RowFormatBuilder(Generic[R]):
        """Builds a `FileSink` for rows. By default a bucket for each hour of the wall clock, as in Flink."""

        def __init__(self, base_path: str, encoder: BatchEncoder[R]) -> None:
            self._base_path = base_path
            self._encoder = encoder
            self._bucket_assigner: AnyBucketAssigner = BucketAssigner.date_time_bucket_assigner()
            self._rolling_policy = RollingPolicy.default_rolling_policy()
            self._output_file_config = OutputFileConfig()

        def with_bucket_assigner(
            self, bucket_assigner: AnyBucketAssigner | Callable[[R, BucketContext], str]
        ) -> FileSink.RowFormatBuilder[R]:
            """Which folder a record goes to.

            Raises:
                JobDefinitionError: it is no bucket assigner.
            """
            self._bucket_assigner = as_bucket_assigner(bucket_assigner)
            return self

        def with_rolling_policy(self, rolling_policy: RollingPolicy) -> FileSink.RowFormatBuilder[R]:
            """When part files end between checkpoints."""
            fix = "give for example RollingPolicy.default_rolling_policy()"
            check_instance("rolling policy", rolling_policy, RollingPolicy, fix=fix)
            self._rolling_policy = rolling_policy
            return self

        def with_output_file_config(
            self, output_file_config: OutputFileConfig
        ) -> FileSink.RowFormatBuilder[R]:
            """What part files are called."""
            fix = "give for example OutputFileConfig.builder().with_part_suffix('.csv').build()"
            check_instance("output file configuration", output_file_config, OutputFileConfig, fix=fix)
            self._output_file_config = output_file_config
            return self

        def with_bucket_check_interval(self, interval: int) -> FileSink.RowFormatBuilder[R]:
            """No effect here: parts are checked at every batch of records, and end at every checkpoint anyway."""
            check_int(
                "interval of bucket checks", interval, least=1, fix="give milliseconds, or leave it out"
            )
            return self

        def enable_compact(self, strategy: object, compactor: object) -> NoReturn:
            """Not supported: small files are not merged.

            Raises:
                JobDefinitionError: always.
            """
            raise JobDefinitionError(
                f"part files cannot be compacted by {strategy!r} and {compactor!r}",
                where="FileSink.enable_compact",
                fix="leave it out; a longer checkpoint interval makes fewer and larger files",
            )

        def disable_compact(self) -> FileSink.RowFormatBuilder[R]:
            """Files are never compacted."""
            return self

        def build(self) -> FileSink[R]:
            """The sink."""
            return FileSink(
                FileSinkSettings(
                    base_path=self._base_path,
                    encoder=self._encoder,
                    bucket_assigner=self._bucket_assigner,
                    rolling_policy=self._rolling_policy,
                    output_file_config=self._output_file_config,
                )
            )

    BaseBuilder = RowFormatBuilder
