"""The tables that descriptors of keyed state declare (how they are laid out is told in `backend.py`)."""

from __future__ import annotations

from typing import Any

from ..core.types import TypeInformation, Types
from .backend import TableDescriptor
from .descriptors import (
    AggregatingStateDescriptor,
    ListStateDescriptor,
    MapStateDescriptor,
    ReducingStateDescriptor,
    StateDescriptor,
)
from .expiry import Shape, expiry_of, stored_type


def table_of_keys(descriptor: StateDescriptor, key_type: TypeInformation[Any]) -> TableDescriptor:
    """The table of a state that each key has one of."""
    if isinstance(descriptor, MapStateDescriptor):
        expiry = expiry_of(descriptor.ttl_config, "value")
        return TableDescriptor(
            name=descriptor.name,
            key_type=descriptor.key_type_info,
            value_type=stored_type(Types.TUPLE([descriptor.value_type_info]), expiry),
            namespace_type=key_type,
            routed_by="namespace",
            mutable_values=not descriptor.value_type_info.immutable,
            few_namespaces=False,
            expiry=expiry,
            kind=_kind_of(descriptor),
        )
    expiry = expiry_of(descriptor.ttl_config, _shape_of(descriptor))
    return TableDescriptor(
        name=descriptor.name,
        key_type=key_type,
        value_type=stored_type(descriptor.type_info, expiry),
        mutable_values=not descriptor.type_info.immutable,
        expiry=expiry,
        kind=_kind_of(descriptor),
    )


def table_of_windows(
    descriptor: StateDescriptor,
    key_type: TypeInformation[Any],
    namespace_type: TypeInformation[Any],
    prefix: str,
) -> TableDescriptor:
    """The table of a state that each window of each key has one of; a map is one value.

    Args:
        descriptor: of the state.
        key_type: of the stream's keys.
        namespace_type: of what stands for windows.
        prefix: before the state's name.
    """
    value_type = descriptor.type_info
    if isinstance(descriptor, MapStateDescriptor):
        # Values stand in tuples of one, so that None can be a value, as in MapState.
        value_type = Types.MAP(descriptor.key_type_info, Types.TUPLE([descriptor.value_type_info]))
    expiry = expiry_of(descriptor.ttl_config, _shape_of(descriptor))
    return TableDescriptor(
        name=prefix + descriptor.name,
        key_type=key_type,
        value_type=stored_type(value_type, expiry),
        namespace_type=namespace_type,
        mutable_values=not value_type.immutable,
        few_namespaces=False,
        expiry=expiry,
        kind=_kind_of(descriptor),
    )


def _kind_of(descriptor: StateDescriptor) -> str:
    match descriptor:
        case ListStateDescriptor():
            return "list"
        case MapStateDescriptor():
            return "map"
        case ReducingStateDescriptor():
            return "reducing"
        case AggregatingStateDescriptor():
            return "aggregating"
    return "value"


def _shape_of(descriptor: StateDescriptor) -> Shape:
    match descriptor:
        case ListStateDescriptor():
            return "list"
        case MapStateDescriptor():
            return "map"
    return "value"
