"""Running a user's program inside the command line, as Python itself would run it."""

from __future__ import annotations

import runpy
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from .core.errors import JobDefinitionError, MillstreamError


def run_script(path: Path, arguments: Sequence[str]) -> None:
    """Run `path` as `__main__` with these arguments; modules beside it can be imported.

    Raises:
        MillstreamError: as the program let it through.
        SystemExit: the program's own exit, or 1 after an error of its own, whose traceback begins in the program.
    """
    script = str(path.absolute())
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    try:
        runpy.run_path(script, run_name="__main__")
    except JobDefinitionError as error:
        if error.where is None:
            error.where = innermost_line(error.__traceback__, script)
        raise
    except MillstreamError:
        raise
    except Exception as error:  # the program's own
        if isinstance(error, ModuleNotFoundError) and error.name == "pyflink":
            error.add_note("fix: let it find Millstream under that name: millstream run --pyflink")
        shown = _from_script_on(error.__traceback__, script)
        traceback.print_exception(type(error), error, shown)
        raise SystemExit(1) from None


def innermost_line(trace: TracebackType | None, path: str) -> str | None:
    """`file:line` of the last frame of the script at `path` in a traceback."""
    lines = [f"{path}:{line}" for frame, line in traceback.walk_tb(trace) if frame.f_code.co_filename == path]
    return lines[-1] if lines else None


def _from_script_on(trace: TracebackType | None, path: str) -> TracebackType | None:
    whole = trace
    while trace is not None and trace.tb_frame.f_code.co_filename != path:
        trace = trace.tb_next
    return whole if trace is None else trace
