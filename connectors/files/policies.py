"""When a part file ends, and what it is called."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.arguments import check_int, check_text
from ...core.errors import JobDefinitionError


@dataclass(frozen=True, slots=True)
class RollingPolicy:
    """When a part file ends before the next checkpoint. At a checkpoint every part ends, with any policy.

    Attributes:
        part_size: a part that has this many bytes ends after the batch of records that made it so; None for no limit.
        rollover_interval: a part ends at the first batch that comes this many ms after it was begun.
        inactivity_interval: a part ends at the first batch that comes this many ms after the one before.
    """

    part_size: int | None
    rollover_interval: int | None
    inactivity_interval: int | None

    @staticmethod
    def default_rolling_policy(
        part_size: int = 128 * 1024 * 1024, rollover_interval: int = 60_000, inactivity_interval: int = 60_000
    ) -> RollingPolicy:
        """By size (bytes) and age (ms), besides every checkpoint.

        Raises:
            JobDefinitionError: a limit is not positive.
        """
        limits = {
            "part_size": part_size,
            "rollover_interval": rollover_interval,
            "inactivity_interval": inactivity_interval,
        }
        for name, limit in limits.items():
            check_int(f"{name} of a rolling policy", limit, least=1, fix="give a positive number")
        return RollingPolicy(part_size, rollover_interval, inactivity_interval)

    @staticmethod
    def on_checkpoint_rolling_policy() -> RollingPolicy:
        """At every checkpoint only."""
        return RollingPolicy(None, None, None)

    def should_roll(self, size: int, age_ms: int, idle_ms: int) -> bool:
        """Whether a part of `size` bytes, begun and last written that long ago, ends before the next batch."""
        return (
            (self.part_size is not None and size >= self.part_size)
            or (self.rollover_interval is not None and age_ms >= self.rollover_interval)
            or (self.inactivity_interval is not None and idle_ms >= self.inactivity_interval)
        )


@dataclass(frozen=True, slots=True)
class OutputFileConfig:
    """The first and last part of the names of part files.

    >>> OutputFileConfig.builder().with_part_prefix("clicks").with_part_suffix(".csv").build()
    OutputFileConfig(part_prefix='clicks', part_suffix='.csv')

    Raises:
        JobDefinitionError: the prefix hides the file or one of the two has a `/`.
    """

    part_prefix: str = "part"
    part_suffix: str = ""

    def __post_init__(self) -> None:
        check_text("prefix of part files", self.part_prefix, empty=True, fix="give for example 'part'")
        check_text("suffix of part files", self.part_suffix, empty=True, fix="give for example '.csv'")
        hides = not self.part_prefix or self.part_prefix[0] in "._"
        if hides or "/" in self.part_prefix + self.part_suffix:
            raise JobDefinitionError(
                f"part files cannot be called {self.part_prefix!r}...{self.part_suffix!r}",
                where="OutputFileConfig",
                fix="give a prefix that does not begin with '.' or '_', which would hide the file, and no '/'",
            )

    @staticmethod
    def builder() -> OutputFileConfig.OutputFileConfigBuilder:
        """A builder, as in PyFlink."""
        return OutputFileConfig.OutputFileConfigBuilder()

    def get_part_prefix(self) -> str:
        """What names begin with."""
        return self.part_prefix

    def get_part_suffix(self) -> str:
        """What names end with."""
        return self.part_suffix

    class OutputFileConfigBuilder:
        """Builds an `OutputFileConfig`."""

        def __init__(self) -> None:
            self._part_prefix = "part"
            self._part_suffix = ""

        def with_part_prefix(self, prefix: str) -> OutputFileConfig.OutputFileConfigBuilder:
            """What names begin with, `part` by default."""
            self._part_prefix = prefix
            return self

        def with_part_suffix(self, suffix: str) -> OutputFileConfig.OutputFileConfigBuilder:
            """What names end with, e.g. `.csv`; nothing by default."""
            self._part_suffix = suffix
            return self

        def build(self) -> OutputFileConfig:
            """The configuration."""
            return OutputFileConfig(self._part_prefix, self._part_suffix)
