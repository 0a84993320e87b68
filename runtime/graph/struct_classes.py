"""msgspec Struct classes by value: what pickle needs to make one again in a worker.

A Struct's fields are settled while the class is made, and cloudpickle, which makes an empty class and fills it in afterwards,
gets one without fields. Here the class is made in one go, with everything in its body.
"""

from __future__ import annotations

import inspect
from typing import Any, Final, TypeAlias

import msgspec
from cloudpickle.cloudpickle import _get_or_create_tracker_id, _lookup_class_or_track
from msgspec._utils import get_class_annotations  # type: ignore[attr-defined]  # published without types

_MADE_ANEW: Final = frozenset(
    {"__slots__", "__dict__", "__weakref__", "__parameters__", "__annotations__", "__annotate_func__"}
    | {"__annotations_cache__", "__annotate__"}
)
"""What making the class puts into it."""

_OPTIONS: Final = [
    "frozen",
    "order",
    "eq",
    "array_like",
    "gc",
    "repr_omit_defaults",
    "omit_defaults",
    "forbid_unknown_fields",
    "weakref",
    "dict",
    "cache_hash",
]

Reduced: TypeAlias = tuple[Any, ...]


def reduce_struct_class(cls: type[msgspec.Struct]) -> Reduced:
    """What `pickle` calls to make `cls`, then what it hands to `_annotate` once the class may be referred to.

    Functions in the body that refer to the class need no care: pickle remembers each function before it comes to its globals.
    """
    fields = _own_fields(cls)
    annotations = inspect.get_annotations(cls)
    body = {name: value for name, value in vars(cls).items() if name not in _MADE_ANEW and name not in fields}
    # Not those of class variables: as text they are told from fields by what the module holds, which is not there.
    body |= {
        "__qualname__": cls.__qualname__,
        "__annotations__": {name: annotations[name] for name in annotations if name in fields},
    }
    arguments = (type(cls), cls.__name__, cls.__bases__, body, fields, _options(cls))
    return (
        _make_struct_class,
        (*arguments, _get_or_create_tracker_id(cls)),
        annotations | _resolved(cls, annotations),
        None,
        None,
        _annotate,
    )


def _own_fields(cls: type[msgspec.Struct]) -> dict[str, dict[str, Any]]:
    """Arguments of `msgspec.field` for each field that `cls` itself declares."""
    names = cls.__struct_fields__
    defaults = (msgspec.NODEFAULT,) * (len(names) - len(cls.__struct_defaults__)) + cls.__struct_defaults__
    declared = inspect.get_annotations(cls)
    return {
        name: {"name": encoded} | _default(default)
        for name, encoded, default in zip(names, cls.__struct_encode_fields__, defaults, strict=True)
        if name in declared
    }


def _default(default: Any) -> dict[str, Any]:
    if default is msgspec.NODEFAULT:
        return {}
    if type(default) is _FACTORY:
        return {"default_factory": default.factory}
    return {"default": default}


class _WithFactory(msgspec.Struct):
    field: list[int] = msgspec.field(default_factory=list)


_FACTORY: Final = type(_WithFactory.__struct_defaults__[0])


def _options(cls: type[msgspec.Struct]) -> dict[str, Any]:
    config: Any = cls.__struct_config__
    declared = inspect.get_annotations(cls)
    parameters = inspect.signature(cls).parameters
    kw_only = any(name in declared and p.kind is p.KEYWORD_ONLY for name, p in parameters.items())
    tag = {} if config.tag is None else {"tag": config.tag, "tag_field": config.tag_field}
    return {option: getattr(config, option) for option in _OPTIONS} | tag | {"kw_only": kw_only}


def _resolved(cls: type[msgspec.Struct], annotations: dict[str, Any]) -> dict[str, Any]:
    """Annotations that are text, as types: the names in them mean nothing in the module of that name in a worker."""
    if not any(isinstance(annotation, str) for annotation in annotations.values()):
        return {}
    try:
        hints = get_class_annotations(cls)
    except NameError:  # imported for type checkers alone; records do not need it
        return {}
    return {name: hints[name] for name, annotation in annotations.items() if isinstance(annotation, str)}


def _make_struct_class(
    meta: Any,
    name: str,
    bases: tuple[type, ...],
    body: dict[str, Any],
    fields: dict[str, dict[str, Any]],
    options: dict[str, Any],
    tracker_id: str,
) -> Any:
    """The class; the one that is there already, when it has come to this process before."""
    defaults = {field: msgspec.field(**arguments) for field, arguments in fields.items()}
    return _lookup_class_or_track(tracker_id, meta(name, bases, body | defaults, **options))


def _annotate(cls: type[msgspec.Struct], resolved: dict[str, Any]) -> None:
    cls.__annotations__ = resolved


def reduce_meta(meta: msgspec.Meta) -> Reduced:
    """A constraint in the annotation of a field, which msgspec has no way to pickle."""
    return _make_meta, (dict(meta.__rich_repr__()),)


def _make_meta(arguments: dict[str, Any]) -> msgspec.Meta:
    return msgspec.Meta(**arguments)
