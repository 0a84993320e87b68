"""Options and where their values come from.

`options.py` is the table of all keys; `load_configuration` merges program, command line, environment and file.
"""

from __future__ import annotations

from . import options as options
from .configuration import Configuration as Configuration
from .loading import load_configuration as load_configuration
from .loading import parse_overrides as parse_overrides
from .option import ConfigOption as ConfigOption
from .option import parse_duration_ms as parse_duration_ms
from .option import write_duration as write_duration
from .options import OptionRow as OptionRow
from .options import describe_options as describe_options
from .options import environment_name as environment_name

__all__ = [
    "ConfigOption",
    "Configuration",
    "OptionRow",
    "describe_options",
    "environment_name",
    "load_configuration",
    "options",
    "parse_duration_ms",
    "parse_overrides",
    "write_duration",
]
