"""`Configuration`: keys and values, each with where it was set."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import timedelta
from types import FrameType
from typing import Any, Final, Self, TypeVar

from ..arguments import check_instance, check_text
from ..errors import ConfigurationError
from ..time import Duration, Time
from .option import ConfigOption, Form, boolean, parse_duration_ms, write_duration, write_pairs
from .options import LEGACY_KEYS, OPTIONS

T = TypeVar("T")
_SETTABLE: Final = (str, bytes, int, float, timedelta, Duration, Time, list, tuple, dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """What one key was set to, and where (a file and line, an environment variable, the command line)."""

    raw: Any
    source: str


class Configuration:
    """Keys and values as a program sets them, with PyFlink's methods; `get` reads a known option.

    Keys and values are checked when the job is submitted (`check`), so that an error can name where each was set.

    >>> config = Configuration().set_string("execution.checkpointing.interval", "10 s")
    >>> from millstream.core.configuration import options
    >>> config.get(options.CHECKPOINTING_INTERVAL)
    10000
    """

    def __init__(self, other: Configuration | Mapping[str, Any] | None = None) -> None:
        self._entries: dict[str, Entry] = {}
        if isinstance(other, Configuration):
            self._entries.update(other._entries)
        elif other is not None:
            check_instance("content of a configuration", other, Mapping, fix="give a Configuration or a dict")
            for key, value in other.items():
                self._set(key, value, _caller())

    @classmethod
    def from_dict(cls, map: Mapping[str, str]) -> Configuration:  # noqa: A002 - PyFlink's name
        """The inverse of `to_dict`."""
        return cls(map)

    def get(self, option: ConfigOption[T]) -> T:
        """The value of a known option, or its default.

        Raises:
            ConfigurationError: the value does not parse.
        """
        entry = self._entries.get(option.key)
        return option.default if entry is None else _parse(option.key, entry, option.form)

    def set(self, key: str | ConfigOption[Any], value: Any) -> Self:
        """Set a key or an option to a text, a number, a truth value, or a length of time."""
        self._set(key.key if isinstance(key, ConfigOption) else key, value, _caller())
        return self

    def get_string(self, key: str, default_value: str) -> str:
        """The value as text, or `default_value`."""
        entry = self._entries.get(key)
        return default_value if entry is None else _as_text(entry.raw)

    def set_string(self, key: str, value: str) -> Self:
        """Set a key to a text."""
        self._set(key, value, _caller())
        return self

    def get_integer(self, key: str, default_value: int) -> int:
        """The value as a whole number, or `default_value`.

        Raises:
            ConfigurationError: it is none.
        """
        return self._get_as(key, default_value, Form("a whole number", "4", lambda raw: int(_as_text(raw))))

    def set_integer(self, key: str, value: int) -> Self:
        """Set a key to a whole number; of an option that is a length of time: milliseconds."""
        self._set(key, value, _caller())
        return self

    def get_boolean(self, key: str, default_value: bool) -> bool:
        """The value as a truth value, or `default_value`.

        Raises:
            ConfigurationError: it is none.
        """
        return self._get_as(key, default_value, boolean())

    def set_boolean(self, key: str, value: bool) -> Self:
        """Set a key to a truth value."""
        self._set(key, value, _caller())
        return self

    def get_float(self, key: str, default_value: float) -> float:
        """The value as a number, or `default_value`.

        Raises:
            ConfigurationError: it is none.
        """
        return self._get_as(key, default_value, Form("a number", "1.5", lambda raw: float(_as_text(raw))))

    def set_float(self, key: str, value: float) -> Self:
        """Set a key to a number."""
        self._set(key, value, _caller())
        return self

    def get_bytearray(self, key: str, default_value: bytearray) -> bytearray:
        """The bytes of a key that was set to bytes, or `default_value`. A copy.

        Raises:
            ConfigurationError: it is something else.
        """
        return self._get_as(key, default_value, Form("bytes", "bytearray(b'...')", _as_bytes))

    def set_bytearray(self, key: str, value: bytearray) -> Self:
        """Set a key to bytes."""
        self._set(key, bytes(value), _caller())
        return self

    @staticmethod
    def parse_list_value(value: str) -> list[Any]:
        """The items of a text that is a YAML list, or of one with semicolons between them.

        >>> Configuration.parse_list_value("a;b"), Configuration.parse_list_value("[a, b]")
        (['a', 'b'], ['a', 'b'])
        """
        import yaml

        if not value:
            return []
        found = yaml.safe_load(value)
        return found if isinstance(found, list) else value.split(";")

    def add_all(self, other: Configuration, prefix: str | None = None) -> Self:
        """Take over everything from another configuration, its keys with `prefix` before them."""
        check_instance(
            "other configuration", other, Configuration, fix="write Configuration(...) around a dict"
        )
        for key, entry in other._entries.items():
            self._entries[f"{prefix or ''}{key}"] = entry
        return self

    def contains_key(self, key: str | ConfigOption[Any]) -> bool:
        """Whether a key was set."""
        return (key.key if isinstance(key, ConfigOption) else key) in self._entries

    def key_set(self) -> AbstractSet[str]:
        """The keys that were set."""
        return frozenset(self._entries)

    def remove_config(self, key: str | ConfigOption[Any]) -> bool:
        """Take a key out; whether it was set."""
        return self._entries.pop(key.key if isinstance(key, ConfigOption) else key, None) is not None

    def to_dict(self) -> dict[str, str]:
        """What was set, as text."""
        return {key: _as_text(entry.raw) for key, entry in self._entries.items()}

    def add_all_to_dict(self, target_dict: dict[str, str]) -> None:
        """Put what was set, as text, into a dict."""
        target_dict.update(self.to_dict())

    def source_of(self, key: str | ConfigOption[Any]) -> str | None:
        """Where a key was set, or None when it was not."""
        entry = self._entries.get(key.key if isinstance(key, ConfigOption) else key)
        return None if entry is None else entry.source

    def check(self) -> None:
        """Make sure that every key is known and every value parses.

        Raises:
            ConfigurationError: the first that is not, with where it was set and what to do.
        """
        for key, entry in self._entries.items():
            option = OPTIONS.get(key)
            if option is None:
                raise unknown_key(key, entry.source)
            _parse(key, entry, option.form)

    def _set(self, key: str, value: Any, source: str) -> None:
        check_text("key of a setting", key, fix="give for example 'parallelism.default'")
        check_instance(
            f"value of '{key}'",
            value,
            _SETTABLE,
            fix="give a text, a number, a truth value or a length of time",
        )
        self._entries[key] = Entry(value, source)

    def _get_as(self, key: str, default: T, form: Form[T]) -> T:
        entry = self._entries.get(key)
        return default if entry is None else _parse(key, entry, form)

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __eq__(self, other: object) -> bool:
        return self.to_dict() == other.to_dict() if isinstance(other, Configuration) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it can change

    def __repr__(self) -> str:
        return f"Configuration({self.to_dict()})"


def from_entries(entries: Mapping[str, Entry]) -> Configuration:
    """A configuration of keys whose sources are known."""
    config = Configuration()
    for key, entry in entries.items():
        config._set(key, entry.raw, entry.source)
    return config


def unknown_key(key: str, source: str) -> ConfigurationError:
    """The error for a key that does not exist, with the one that was probably meant."""
    renamed = LEGACY_KEYS.get(key)
    if renamed is not None:
        return ConfigurationError(
            f"unknown key '{key}': it is called '{renamed}'", where=source, fix=f"write '{renamed}'"
        )
    import difflib

    near = difflib.get_close_matches(key, [*OPTIONS, *LEGACY_KEYS], n=1, cutoff=0.0)
    name = LEGACY_KEYS.get(near[0], near[0])
    return ConfigurationError(
        f"unknown key '{key}'; the nearest known one is '{name}'",
        where=source,
        fix=f"write '{name}' if that is meant, otherwise take the key out",
    )


def _parse(key: str, entry: Entry, form: Form[T]) -> T:
    try:
        return form.parse(entry.raw)
    except ValueError:
        raise ConfigurationError(
            f"'{key}' cannot be {_as_text(entry.raw)!r}: {form.expected} is expected",
            where=entry.source,
            fix=f"write for example {key}: {form.example}",
        ) from None


def _as_text(raw: Any) -> str:
    match raw:
        case bool():
            return str(raw).lower()
        case timedelta() | Duration() | Time():
            return write_duration(parse_duration_ms(raw))
        case list() | tuple():
            return ", ".join(map(str, raw))
        case dict():
            return write_pairs(raw)
        case None:
            return ""
        case _:
            return str(raw)


def _as_bytes(raw: Any) -> bytearray:
    if not isinstance(raw, bytes | bytearray):
        raise ValueError(raw)  # noqa: TRY004 - a value that does not parse, whatever its type
    return bytearray(raw)


def _caller() -> str:
    """The file and line in the user's program that led here."""
    package = f"{__name__.partition('.')[0]}."
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(package):
        frame = frame.f_back
    return "program" if frame is None else f"program, {frame.f_code.co_filename}:{frame.f_lineno}"
