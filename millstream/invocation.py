"""What the command line says about the program it runs. Empty when a program is run by Python itself."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .runtime.graph.stream_graph import StreamGraph

DEFAULT_JOB_NAME: Final = "millstream-job"


@dataclass(frozen=True, slots=True)
class Invocation:
    """Options of `millstream run` and `millstream plan`.

    Attributes:
        overrides: `-D key=value`, and `-p` as `parallelism.default`.
        resume: go on from the newest complete checkpoint of the job.
        savepoint_path: start from exactly this checkpoint.
        show_plan: takes the graph instead of a job being run.
    """

    overrides: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    resume: bool = False
    savepoint_path: str | None = None
    show_plan: Callable[[StreamGraph], None] | None = None


class PlanShown(SystemExit):
    """Ends a program whose plan was asked for, where going on would need the job's results."""


_current = Invocation()


def current() -> Invocation:
    """How this process was invoked."""
    return _current


def use(invocation: Invocation) -> None:
    """Set by the command line before it runs the program."""
    global _current
    _current = invocation


def default_job_name() -> str:
    """The stem of the script's name (of a package run by `python -m`: its name), under which `--resume` finds the job's checkpoints again."""
    main_file = getattr(sys.modules.get("__main__"), "__file__", None)
    if not main_file:
        return DEFAULT_JOB_NAME
    path = Path(main_file)
    return path.parent.name if path.stem == "__main__" else path.stem
