"""The alias against PyFlink's own API, as `python -m scripts.pyflink_api` lists it: names and arguments, in `pyflink_api.txt`."""

import inspect
import sys
from importlib import import_module
from pathlib import Path

import pytest

from millstream.pyflink import install
from millstream.pyflink.missing import MISSING, reason_of
from millstream.pyflink.modules import MODULES

LINES = (Path(__file__).parent / "pyflink_api.txt").read_text(encoding="utf-8").splitlines()
NAMES = {line.partition("(")[0] for line in LINES}


@pytest.fixture(scope="module", autouse=True)
def _alias():
    finders, modules = list(sys.meta_path), set(sys.modules)
    install()
    yield
    sys.meta_path[:] = finders
    for name in set(sys.modules) - modules:
        if name.partition(".")[0] == "pyflink":
            del sys.modules[name]


def find(name):
    """What a program gets under the name. Raises AttributeError when it gets nothing."""
    module = next(part for part in prefixes(name) if part in MODULES)
    value = import_module(module)
    for part in name[len(module) + 1 :].split(".") if name != module else ():
        value = getattr(value, part)
    return value


def prefixes(name):
    """The name, and all that it lies in, from the inside out."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def is_declared_missing(name):
    return any(part in MISSING for part in prefixes(name))


def own_arguments(name):
    """Those of ours, written as in the list."""
    owner = find(name.rpartition(".")[0])
    if name.endswith(".__init__"):
        parameters = list(inspect.signature(owner).parameters.values())
    else:
        parameters = list(inspect.signature(find(name)).parameters.values())
        static = isinstance(owner, type) and inspect.getattr_static(owner, name.rpartition(".")[2])
        parameters = parameters[1:] if inspect.isfunction(static) else parameters
    return [written(parameter) for parameter in parameters]


def written(parameter):
    stars = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
    return f"{stars}{parameter.name}{'' if parameter.default is parameter.empty else '='}"


def fits(theirs, ours):
    """Whether every call of theirs, by position or by name, is one of ours."""
    if theirs[:1] == ["*args"]:
        return any(argument.startswith("*") for argument in ours)
    if len(ours) < len(theirs):
        return False
    same = all(b in {a, f"{a}="} for a, b in zip(theirs, ours, strict=False))
    return same and all(argument.endswith("=") or argument[0] == "*" for argument in ours[len(theirs) :])


def problem_with(line):
    name, bracket, arguments = line.partition("(")
    if is_declared_missing(name):
        return None
    if not exists(name):
        return f"{line}: missing"
    if not bracket:
        return None
    ours = own_arguments(name)
    good = fits([argument for argument in arguments[:-1].split(", ") if argument], ours)
    return None if good else f"{line}: takes ({', '.join(ours)})"


def test_what_pyflink_has_is_here_with_its_arguments_or_declared_missing():
    assert [problem for problem in map(problem_with, LINES) if problem is not None] == []


def test_nothing_is_declared_missing_that_is_here_or_that_pyflink_does_not_have():
    assert set(MISSING) <= NAMES
    here = [name for name in MISSING if not name.endswith("__init__") and exists(name)]
    assert here == []
    for name in MISSING:  # a constructor is declared missing where ours takes something else
        if name.endswith(".__init__"):
            line = next(line for line in LINES if line.startswith(f"{name}("))
            theirs = line.partition("(")[2][:-1].split(", ")
            assert not fits(theirs, own_arguments(name)), name


def exists(name):
    try:
        find(name)
    except (AttributeError, ImportError):
        return False
    return True


def test_star_imports_give_pyflink_s_names():
    for module, contents in MODULES.items():
        below = {name for name in NAMES if name.rpartition(".")[0] == module and name not in MODULES}
        public = {name.rpartition(".")[2] for name in below if not is_declared_missing(name)}
        if module in NAMES:
            constants = {name for name in contents.names if name.isupper()}
            assert contents.names - constants == public, module
        for name in import_module(module).__all__:
            assert getattr(import_module(module), name) is not None


def test_a_list_of_nothing_would_not_pass():
    assert len(LINES) > 1_500
    assert not fits(["a", "b="], ["a"])
    assert not fits(["a"], ["b"])
    assert not fits(["a"], ["a", "b"])
    assert fits(["a"], ["a", "b="])
    assert reason_of("pyflink.nothing") is None
