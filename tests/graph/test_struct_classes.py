"""Record classes of a script, which no worker can import, are whole where the job is read."""

import subprocess
import sys
from pathlib import Path

import pytest

_CLASSES = """
import enum
import sys
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Generic, NamedTuple, Optional, TypedDict, TypeVar

import msgspec

from millstream.core.types import GENERIC
from millstream.runtime.graph.artifact import decode_job, encode_job
from tests.graph.test_artifact import function_of, job_with

T = TypeVar("T")


class Colour(enum.Enum):
    RED = 1

    def opposite(self):
        return "not " + self.name


class Base(msgspec.Struct, rename="camel", tag="base", tag_field="kind", kw_only=True, frozen=True):
    \"\"\"What all have.\"\"\"

    first_part: int
    LIMIT: ClassVar[int] = 3


class Event(Base, Generic[T], tag="event", omit_defaults=True):
    second_part: T
    tags: list[str] = []
    number: int = msgspec.field(default_factory=lambda: Event.LIMIT, name="no")
    parent: "Optional[Event[int]]" = None

    def total(self):
        return self.first_part + self.number

    def again(self):
        return Event(first_part=self.first_part, second_part=self.second_part)

    @property
    def limit(self):
        return super().LIMIT


class Row(msgspec.Struct, array_like=True, frozen=True, order=True):
    a: int
    b: Annotated[int, msgspec.Meta(gt=0)] = 1

    def __post_init__(self):
        if self.a < 0:
            raise ValueError("negative")


class Empty(msgspec.Struct):
    pass


class Point(NamedTuple):
    x: int
    y: int = 2

    def sum(self):
        return self.x + self.y


@dataclass(slots=True, kw_only=True, frozen=True)
class Slotted:
    a: int
    items: list[int] = field(default_factory=lambda: [7])


class Options(TypedDict, total=False):
    depth: int


def check(number):
    event = Event(first_part=1, second_part="x")
    assert Event.__doc__ is None and Base.__doc__ == "What all have."
    assert (event.total(), event.limit, event.tags, event.again()) == (4, 3, [], event)
    assert event.tags is not event.again().tags
    assert isinstance(event, Base) and Event.__parameters__ == (T,)
    text = b'{"kind":"event","secondPart":"x","firstPart":1,"no":3}'
    assert msgspec.json.decode(text, type=Event[str]) == event, msgspec.json.encode(event)
    child = Event(first_part=1, second_part=2, parent=Event(first_part=1, second_part=3))
    assert msgspec.json.decode(msgspec.json.encode(child), type=Event[int]) == child
    try:
        event.number = 5
    except AttributeError:
        pass
    else:
        raise AssertionError("not frozen")
    assert msgspec.json.encode(Row(4)) == b"[4,1]" and Row(1) < Row(2) and hash(Row(1)) == hash(Row(1))
    for bad in (b"[-1]", b"[1, 0]"):
        try:
            msgspec.json.decode(bad, type=Row)
        except msgspec.ValidationError:
            continue
        raise AssertionError(bad)
    assert Point(1).sum() == 3 and Slotted(a=1).items == [7] and Options(depth=1) == {"depth": 1}
    assert Colour.RED.opposite() == "not RED"
    return [event, Row(number), Empty(), Point(number), Slotted(a=number), Colour.RED, Options(depth=number)]
"""

_WRITE = """
expected = check(5)
job = encode_job(job_with(lambda number: check(number)))
record = GENERIC.serializer().dumps(expected)
sys.stdout.buffer.write(len(job).to_bytes(4, "big") + job + record)
"""

_READ = """
import sys
from millstream.core.types import GENERIC
from millstream.runtime.graph.artifact import decode_job
from tests.graph.test_artifact import function_of

data = sys.stdin.buffer.read()
end = 4 + int.from_bytes(data[:4], "big")
made = function_of(decode_job(data[4:end]))(5)
read = GENERIC.serializer().loads(data[end:])
again = function_of(decode_job(data[4:end]))(5)  # the next attempt of the job
assert made == read == again, (made, read, again)
assert [type(value) for value in made] == [type(value) for value in read] == [type(value) for value in again]
print(len(made))
"""

_TEXT_ANNOTATIONS = "from __future__ import annotations\n"


def run(arguments: list[str], data: bytes = b"") -> bytes:
    done = subprocess.run([sys.executable, *arguments], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.mark.parametrize("first_line", ["", _TEXT_ANNOTATIONS], ids=["types", "text"])
def test_record_classes_of_a_script_are_whole_where_the_job_is_read(tmp_path: Path, first_line: str) -> None:
    script = tmp_path / "job.py"
    script.write_text(f"{first_line}{_CLASSES}{_WRITE}")
    root = str(Path(__file__).parents[2])
    program = f"import sys; sys.path.insert(0, {root!r}); exec(open({str(script)!r}).read())"
    written = run(["-c", program])
    assert run(["-c", _READ], written).strip() == b"7"
