"""Types of records, keys and state, and their exact encodings.

Start reading at `info.py` (what a type is), then `exact.py` (the bytes) and `keys.py` (canonical keys).
"""

from __future__ import annotations

from .basic import BasicTypeInfo as BasicTypeInfo
from .basic import EnumTypeInfo as EnumTypeInfo
from .basic import RecordTypeInfo as RecordTypeInfo
from .classes import class_name as class_name
from .classes import register_classes as register_classes
from .composite import CollectionTypeInfo as CollectionTypeInfo
from .composite import MapTypeInfo as MapTypeInfo
from .composite import OptionalTypeInfo as OptionalTypeInfo
from .composite import RowTypeInfo as RowTypeInfo
from .composite import TupleTypeInfo as TupleTypeInfo
from .composite import coercion_of as coercion_of
from .composite import holds_pickled as holds_pickled
from .copying import IMMUTABLE as IMMUTABLE
from .copying import copy_value as copy_value
from .evolution import conversion as conversion
from .evolution import difference as difference
from .evolution import key_difference as key_difference
from .excerpt import excerpt as excerpt
from .factories import Types as Types
from .inference import as_type as as_type
from .inference import infer_type as infer_type
from .info import GENERIC as GENERIC
from .info import Serializer as Serializer
from .info import TypeInformation as TypeInformation
from .key_encoder import KeyEncoder as KeyEncoder
from .keys import InvalidKeyError as InvalidKeyError
from .row import Row as Row
from .row import RowKind as RowKind
from .schema import TypeSchema as TypeSchema
from .schema import reading_type as reading_type
from .schema import schema_of as schema_of
from .tagged_union import TaggedUnionTypeInfo as TaggedUnionTypeInfo

__all__ = [
    "GENERIC",
    "IMMUTABLE",
    "BasicTypeInfo",
    "CollectionTypeInfo",
    "EnumTypeInfo",
    "InvalidKeyError",
    "KeyEncoder",
    "MapTypeInfo",
    "OptionalTypeInfo",
    "RecordTypeInfo",
    "Row",
    "RowKind",
    "RowTypeInfo",
    "Serializer",
    "TaggedUnionTypeInfo",
    "TupleTypeInfo",
    "TypeInformation",
    "TypeSchema",
    "Types",
    "as_type",
    "class_name",
    "coercion_of",
    "conversion",
    "copy_value",
    "difference",
    "excerpt",
    "holds_pickled",
    "infer_type",
    "key_difference",
    "reading_type",
    "register_classes",
    "schema_of",
]
