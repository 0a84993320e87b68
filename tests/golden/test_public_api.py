"""Every public name with its signature: a change of the API shows as a diff. UPDATE_GOLDEN=1 rewrites the file."""

import dataclasses
import enum
import inspect
import re
import subprocess
import sys

import millstream
from tests.golden.golden_files import check_golden


def public_members(cls):
    """Its own, and those of bases that are not public themselves."""
    found = {}
    for base in reversed(cls.__mro__):
        if base is cls or (
            base.__module__.startswith("millstream") and base.__name__ not in millstream.__all__
        ):
            found.update(vars(base))
    for name, member in sorted(found.items()):
        if not name.startswith("_") or (name == "__init__" and not dataclasses.is_dataclass(cls)):
            yield name, member


def signature(callable_):
    try:
        text = str(inspect.signature(callable_))
    except (TypeError, ValueError):
        return "(...)"
    return re.sub(r"<object object at 0x[0-9a-f]+>|<factory>", "...", text)


def describe_field(field):
    default = "" if field.default is dataclasses.MISSING else f" = {field.default!r}"
    return f"    {field.name}: {field.type}{default}"


def describe_class(name, cls):
    bases = ", ".join(base.__name__ for base in cls.__bases__ if base is not object)
    yield f"class {name}({bases})"
    if issubclass(cls, enum.Enum):
        yield from (f"    {member.name} = {member.value!r}" for member in cls)
        return
    if issubclass(cls, Exception):
        yield f"    __init__{signature(cls.__init__)}"
        return
    if dataclasses.is_dataclass(cls):
        yield from map(describe_field, dataclasses.fields(cls))
    for method, member in public_members(cls):
        if isinstance(member, staticmethod):
            yield f"    static {method}{signature(member.__func__)}"
        elif isinstance(member, classmethod):
            yield f"    class {method}{signature(member.__func__)}"
        elif isinstance(member, property):
            yield f"    {method}: property"
        elif inspect.isfunction(member):
            yield f"    {method}{signature(member)}"
        elif isinstance(member, type):
            yield from (f"    {line}" for line in describe_class(member.__qualname__, member))


def describe_api():
    lines = []
    for name in sorted(millstream.__all__):
        value = getattr(millstream, name)
        lines.extend(
            describe_class(name, value) if isinstance(value, type) else [f"{name}: {type(value).__name__}"]
        )
    return "\n".join(lines) + "\n"


def test_the_public_api_is_as_recorded():
    check_golden("public_api.txt", describe_api())


def test_all_is_sorted_and_every_name_can_be_had():
    names = [name for name in millstream.__all__ if name != "__version__"]
    assert names == sorted(names)
    assert set(millstream.__all__) <= set(dir(millstream))


def test_type_checkers_see_the_names_that_are_loaded_late():
    source = inspect.getsource(millstream)
    declared = set(re.findall(r"^    from \.[\w.]+ import (?:\(\n +)?\w+ as (\w+),?$", source, re.MULTILINE))
    assert declared == set(millstream._MODULE_OF)
    assert declared | {"__version__"} == set(millstream.__all__)


def test_importing_a_layer_loads_neither_the_api_nor_what_only_some_programs_need():
    program = (
        "import sys, millstream.core.errors; names = set(sys.modules);"
        "import millstream; millstream.StreamExecutionEnvironment;"
        "print(*sorted(n for n in names if n.startswith('millstream.') and '.core' not in n));"
        "print(*sorted({'typer', 'rich', 'fsspec', 'rocksdict', 'confluent_kafka', 'yaml', 'asyncio'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n"
