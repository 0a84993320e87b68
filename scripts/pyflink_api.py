"""Lists the public names of PyFlink's DataStream API: `python -m scripts.pyflink_api <unpacked wheel> > tests/golden/pyflink_api.txt`.

The wheel's source is only parsed, never imported, and nothing but names comes out. One name a line: a module's own, as
`module.Name`; a method with the names of its arguments, `*` and `**` as in Python, and `=` after those that have a default. What is
about Java objects (an argument whose name begins with `j_`) is no part of what programs use: such arguments are left out, and so
are constructors that need one.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PACKAGES: Final = ("common", "datastream")


def main(arguments: list[str]) -> int:
    """Prints the list; returns the exit status."""
    if len(arguments) != 1 or not (Path(arguments[0]) / "pyflink").is_dir():
        print("usage: python -m scripts.pyflink_api FOLDER (that has the package pyflink)", file=sys.stderr)
        return 2
    print("\n".join(public_names(Path(arguments[0]))))
    return 0


def public_names(root: Path) -> list[str]:
    """Every line of the list, sorted."""
    paths = (path for package in _PACKAGES for path in (root / "pyflink" / package).rglob("*.py"))
    return sorted(line for path in paths if _is_public(path, root) for line in _of_module(path, root))


def _is_public(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).with_suffix("").parts
    return "tests" not in parts and not any(part.startswith("_") for part in parts if part != "__init__")


def _of_module(path: Path, root: Path) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = path.relative_to(root).with_suffix("").parts
    module = ".".join(part for part in parts if part != "__init__")
    yield module
    defined = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    listed = _all_of(tree)
    for name in sorted({*(defined if listed is None else listed), *_handed_out(tree)}):
        if name.startswith("_"):
            continue
        match defined.get(name):
            case ast.ClassDef() as found:
                yield from _of_class(f"{module}.{name}", found)
            case ast.FunctionDef() as found:
                yield f"{module}.{name}({_arguments(found, skip=0)})"
            case _:
                yield f"{module}.{name}"


def _all_of(tree: ast.Module) -> list[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
        ):
            names: list[str] = ast.literal_eval(node.value)
            return names
    return None


def _handed_out(tree: ast.Module) -> Iterator[str]:
    """Packages take names of the modules below them by `setattr(package, "Name", ...)`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="setattr"), args=[ast.Name(), ast.Constant(value=str(name)), _]):
                yield name


def _of_class(name: str, node: ast.ClassDef) -> Iterator[str]:
    yield name
    is_enum = any(isinstance(base, ast.Name) and base.id == "Enum" for base in node.bases)
    # Of overloads the last one counts, as it does when the module runs.
    methods = {member.name: member for member in node.body if isinstance(member, ast.FunctionDef)}
    for member in [
        *(other for other in node.body if not isinstance(other, ast.FunctionDef)),
        *methods.values(),
    ]:
        match member:
            case ast.FunctionDef(name="__init__"):
                arguments = _arguments(member, skip=1).split(", ")
                plain = [argument for argument in arguments if not argument.startswith("j_")]
                java = [argument for argument in arguments if argument.startswith("j_")]
                if java:  # the others have defaults only because a Java object may come instead
                    plain = [argument.removesuffix("=") for argument in plain]
                if all(argument.endswith("=") for argument in java):
                    yield f"{name}.__init__({', '.join(plain)})"
            case ast.FunctionDef() if not member.name.startswith("_"):
                yield f"{name}.{_method(member)}"
            case ast.ClassDef() if not member.name.startswith("_"):
                yield from _of_class(f"{name}.{member.name}", member)
            case ast.Assign(targets=[ast.Name(id=constant)]) if is_enum and not constant.startswith("_"):
                yield f"{name}.{constant}"


def _method(node: ast.FunctionDef) -> str:
    decorators = {ast.unparse(decorator) for decorator in node.decorator_list}
    if "property" in decorators:
        return node.name
    return f"{node.name}({_arguments(node, skip=0 if 'staticmethod' in decorators else 1)})"


def _arguments(node: ast.FunctionDef, skip: int) -> str:
    arguments = node.args
    positional = [argument.arg for argument in (*arguments.posonlyargs, *arguments.args)]
    required = len(positional) - len(arguments.defaults)
    names = [name if at < required else f"{name}=" for at, name in enumerate(positional)][skip:]
    if arguments.vararg:
        names.append(f"*{arguments.vararg.arg}")
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        names.append(argument.arg if default is None else f"{argument.arg}=")
    if arguments.kwarg:
        names.append(f"**{arguments.kwarg.arg}")
    return ", ".join(names)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
