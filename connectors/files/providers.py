"""PyFlink's names for how files are cut into splits and given to readers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileEnumeratorProvider:
    """Whether files are cut.

    >>> FileEnumeratorProvider.default_non_splittable_file_enumerator()
    FileEnumeratorProvider(splittable=False)
    """

    splittable: bool

    @staticmethod
    def default_splittable_file_enumerator() -> FileEnumeratorProvider:
        """Large files are cut and read in parallel."""
        return FileEnumeratorProvider(splittable=True)

    @staticmethod
    def default_non_splittable_file_enumerator() -> FileEnumeratorProvider:
        """A file is one split: its lines are read in order, by one subtask."""
        return FileEnumeratorProvider(splittable=False)


@dataclass(frozen=True, slots=True)
class FileSplitAssignerProvider:
    """Which reader gets which split.

    >>> FileSplitAssignerProvider.locality_aware_split_assigner()
    FileSplitAssignerProvider()
    """

    @staticmethod
    def locality_aware_split_assigner() -> FileSplitAssignerProvider:
        """As near as possible, which is the same for all where every worker sees the same file system."""
        return FileSplitAssignerProvider()
