"""An option: its key, its default, how its value is written, and what it does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

from ..time import Duration, Time, to_millis

T = TypeVar("T")

_UNITS: Final = {
    **dict.fromkeys(("ns", "nano", "nanos", "nanosecond", "nanoseconds"), 1),
    **dict.fromkeys(("µs", "us", "micro", "micros", "microsecond", "microseconds"), 1_000),
    **dict.fromkeys(("", "ms", "milli", "millis", "millisecond", "milliseconds"), 1_000_000),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1_000_000_000),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60_000_000_000),
    **dict.fromkeys(("h", "hour", "hours"), 3_600_000_000_000),
    **dict.fromkeys(("d", "day", "days"), 86_400_000_000_000),
}
"""Nanoseconds of each unit a duration may be written in; without one it is milliseconds."""

_WRITTEN: Final = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1))
_MEMORY_UNITS: Final = {
    **dict.fromkeys(("", "b", "bytes"), 1),
    **dict.fromkeys(("k", "kb", "kibibytes"), 1 << 10),
    **dict.fromkeys(("m", "mb", "mebibytes"), 1 << 20),
    **dict.fromkeys(("g", "gb", "gibibytes"), 1 << 30),
}
"""Bytes of each unit an amount of memory may be written in."""
_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How values of an option are written.

    Attributes:
        expected: in words, for error messages and the documentation.
        example: a value that parses.
        parse: makes the value out of what a program, a command line or a file gives; ValueError when it cannot.
        write: the value as one would write it.
    """

    expected: str
    example: str
    parse: Callable[[Any], T]
    write: Callable[[T], str] = str


@dataclass(frozen=True, slots=True)
class ConfigOption(Generic[T]):
    """A known key.

    Attributes:
        key: Flink's key where Flink has the option.
        default: the value when nothing sets it; None stands for what the description says.
        form: how values are written.
        description: what it does, for the documentation.
    """

    key: str
    default: T
    form: Form[T]
    description: str

    def parse(self, raw: Any) -> T:
        """The value of what was given.

        Raises:
            ValueError: it does not parse; what is expected is in `form`.
        """
        return self.form.parse(raw)


def text(expected: str = "text", example: str = "name") -> Form[Any]:
    """Any text but the empty one."""

    def parse(raw: Any) -> str:
        if isinstance(raw, bool | list | dict) or not str(raw).strip():
            raise ValueError(raw)
        return str(raw).strip()

    return Form(expected, example, parse)


def texts(expected: str, example: str) -> Form[tuple[str, ...]]:
    """Several texts: a list, or one text with commas or semicolons between them."""

    def parse(raw: Any) -> tuple[str, ...]:
        items = raw if isinstance(raw, list | tuple) else re.split("[,;]", str(raw))
        found = tuple(str(item).strip() for item in items)
        if not all(found):
            raise ValueError(raw)
        return found

    return Form(expected, example, parse, ", ".join)


def pairs(expected: str, example: str) -> Form[Mapping[str, str]]:
    """Names with texts: a dict, or one text `name:text, name:text`, where quotes keep commas: `name:'a, b'`, `''` for a quote."""

    def parse(raw: Any) -> Mapping[str, str]:
        if isinstance(raw, dict):
            return {str(name): str(value) for name, value in raw.items()}
        found: dict[str, str] = {}
        for item in re.findall(r"(?:'(?:[^']|'')*'|[^,'])+", str(raw)):
            name, colon, value = item.partition(":")
            if not colon or not name.strip():
                raise ValueError(raw)
            value = value.strip()
            quoted = re.fullmatch(r"'((?:[^']|'')*)'", value)
            found[name.strip()] = quoted[1].replace("''", "'") if quoted else value
        return found

    return Form(f"{expected}, with a colon inside and commas between the pairs", example, parse, write_pairs)


def write_pairs(values: Mapping[str, Any]) -> str:
    """Names with texts, as `pairs` reads them.

    >>> write_pairs({"input": "/data", "words": "a, b"})
    "input:/data, words:'a, b'"
    """
    return ", ".join(f"{name}:{_quoted(str(value))}" for name, value in values.items())


def _quoted(value: str) -> str:
    plain = value == value.strip() and not set(value) & set(",'")
    return value if plain else "'" + value.replace("'", "''") + "'"


def integer(low: int, high: int | None = None, example: str = "4") -> Form[Any]:
    """Whole numbers within bounds."""

    def parse(raw: Any) -> int:
        if isinstance(raw, bool | float):
            raise ValueError(raw)  # noqa: TRY004 - a value that does not parse, whatever its type
        value = int(str(raw).strip())
        if value < low or (high is not None and value > high):
            raise ValueError(raw)
        return value

    bounds = f"of at least {low}" if high is None else f"from {low} to {high}"
    return Form(f"a whole number {bounds}", example, parse)


def integer_or_infinite(low: int) -> Form[int | None]:
    """Whole numbers, or "infinite" (None)."""
    number = integer(low)

    def parse(raw: Any) -> int | None:
        return None if raw is None or str(raw).strip().lower() == "infinite" else number.parse(raw)

    def write(value: int | None) -> str:
        return "infinite" if value is None else str(value)

    return Form(f"{number.expected}, or infinite", "infinite", parse, write)


def number(low: float, high: float, example: str) -> Form[float]:
    """Numbers within bounds."""

    def parse(raw: Any) -> float:
        value = float(str(raw).strip())
        if isinstance(raw, bool) or not low <= value <= high:
            raise ValueError(raw)
        return value

    bounds = f"of at least {low:g}" if high == float("inf") else f"from {low:g} to {high:g}"
    return Form(f"a number {bounds}", example, parse)


def boolean() -> Form[bool]:
    """True and false, as YAML and shells write them."""

    def parse(raw: Any) -> bool:
        word = str(raw).strip().lower()
        if word not in _TRUE | _FALSE:
            raise ValueError(raw)
        return word in _TRUE

    return Form("true or false", "true", parse, lambda value: str(value).lower())


def choice(*names: str, also: dict[str, str] | None = None, later: tuple[str, ...] = ()) -> Form[Any]:
    """One of a few names, in any case.

    Args:
        names: as they are written.
        also: other spellings that stand for one of them.
        later: names that Flink has and this release does not.
    """
    spellings = {name.lower(): name for name in names} | (also or {})

    def parse(raw: Any) -> str:
        word = str(raw.value if hasattr(raw, "value") else raw).strip().lower()
        if word not in spellings:
            raise ValueError(raw)
        return spellings[word]

    expected = f"one of {', '.join(names)}"
    if later:
        expected += f" ({', '.join(later)}: in a later release)"
    return Form(expected, names[0], parse)


def duration(minimum_ms: int = 0, example: str = "10 s") -> Form[Any]:
    """Lengths of time, as `int` milliseconds: "10 s", "200ms", "1 min", timedelta, Duration; a bare number is milliseconds."""

    def parse(raw: Any) -> int:
        millis = parse_duration_ms(raw)
        if millis < minimum_ms:
            raise ValueError(raw)
        return millis

    least = f" of at least {write_duration(minimum_ms)}" if minimum_ms else ""
    return Form(f"a length of time{least}, with a unit (ms, s, min, h, d)", example, parse, write_duration)


def memory_size(example: str, *, zero: bool = False, most: int | None = None) -> Form[Any]:
    """Amounts of memory, as `int` bytes: "64 kb", "128 mb", "1 gb"; a bare number is bytes. As in Flink, 1 kb is 1024 bytes.

    `zero`: it may be nothing; `most`: bytes."""

    def parse(raw: Any) -> int:
        found = re.fullmatch(r"(\d+)\s*([a-z]*)", str(raw).strip().lower())
        if isinstance(raw, bool) or found is None or found[2] not in _MEMORY_UNITS:
            raise ValueError(raw)
        size = int(found[1]) * _MEMORY_UNITS[found[2]]
        if (size == 0 and not zero) or (most is not None and size > most):
            raise ValueError(raw)
        return size

    limit = "" if most is None else f" of at most {write_memory_size(most)}"
    return Form(f"an amount of memory{limit}, with a unit (b, kb, mb, gb)", example, parse, write_memory_size)


def write_memory_size(size: int) -> str:
    """Bytes in the largest unit that takes them whole.

    >>> write_memory_size(128 << 20), write_memory_size(1500)
    ('128 mb', '1500 b')
    """
    unit = next(unit for unit in ("gb", "mb", "kb", "b") if size % _MEMORY_UNITS[unit] == 0)
    return f"{size // _MEMORY_UNITS[unit]} {unit}"


def parse_duration_ms(raw: Any) -> int:
    """A length of time in milliseconds, from any of its spellings.

    >>> parse_duration_ms("1 min"), parse_duration_ms("200ms"), parse_duration_ms(5), parse_duration_ms("1.5 s")
    (60000, 200, 5, 1500)

    Raises:
        ValueError: it is none.
    """
    if isinstance(raw, timedelta | Duration | Time):
        return to_millis(raw)
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zµ]*)", str(raw).strip().lower())
    if found is None or found[2] not in _UNITS:
        raise ValueError(raw)
    whole, _, fraction = found[1].partition(".")
    divisor: int = 10 ** len(fraction)
    return int(whole + fraction) * _UNITS[found[2]] // divisor // 1_000_000


def write_duration(millis: int) -> str:
    """Milliseconds in the largest unit that takes them whole.

    >>> write_duration(60_000), write_duration(1500), write_duration(0)
    ('1 min', '1500 ms', '0 ms')
    """
    unit, size = next((unit, size) for unit, size in _WRITTEN if (millis and millis % size == 0) or size == 1)
    return f"{millis // size} {unit}"
