"""Files: lines of text as a source, and an exactly-once sink of rows."""

from .buckets import BucketAssigner as BucketAssigner
from .buckets import BucketContext as BucketContext
from .encoder import Encoder as Encoder
from .policies import OutputFileConfig as OutputFileConfig
from .policies import RollingPolicy as RollingPolicy
from .providers import FileEnumeratorProvider as FileEnumeratorProvider
from .providers import FileSplitAssignerProvider as FileSplitAssignerProvider
from .sink import FileSink as FileSink
from .source import FileSource as FileSource
from .source import FileSourceBuilder as FileSourceBuilder
from .source import StreamFormat as StreamFormat

__all__ = [
    "BucketAssigner",
    "BucketContext",
    "Encoder",
    "FileEnumeratorProvider",
    "FileSink",
    "FileSource",
    "FileSourceBuilder",
    "FileSplitAssignerProvider",
    "OutputFileConfig",
    "RollingPolicy",
    "StreamFormat",
]
