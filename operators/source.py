"""The operator behind a source reader. Its code is that of timestamps anywhere in the stream, kept per split."""

from .timestamps import SourceHead, SourceOperator, SourceSpec

__all__ = ["SourceHead", "SourceOperator", "SourceSpec"]
