from __future__ import annotations

from collections import Counter

import pytest

from millstream.core.errors import RecordSerializationError
from millstream.core.types import GENERIC, Row, TaggedUnionTypeInfo, Types

VALUES = {
    "plain": (TaggedUnionTypeInfo(Types.LONG(), Types.STRING()), [(1, 5), (2, "a"), (1, 6)]),
    "generic": (TaggedUnionTypeInfo(GENERIC, GENERIC), [(1, (1, "x")), (2, [2.5, None])]),
    "row and pickle": (
        TaggedUnionTypeInfo(Types.ROW([Types.LONG()]), Types.PICKLED_BYTE_ARRAY()),
        [(1, Row(1)), (2, Counter("ab")), (2, None)],
    ),
}


@pytest.mark.parametrize("kind", VALUES)
def test_values_of_both_types_come_back_with_their_tags(kind) -> None:
    type_info, values = VALUES[kind]
    serializer = type_info.serializer()
    assert serializer.loads_batch(serializer.dumps_batch(values)) == values
    assert [serializer.loads(serializer.dumps(value)) for value in values] == values


@pytest.mark.parametrize("value", [5, (1,), (3, 5), (1, "a"), (2, 5), [1, 5]])
def test_what_is_not_of_the_type_of_its_tag_is_refused(value) -> None:
    with pytest.raises(RecordSerializationError, match=r"TAGGED_UNION\(LONG, STRING\)"):
        VALUES["plain"][0].serializer().dumps_batch([(1, 1), value])


def test_it_can_be_changed_in_place_if_one_of_the_two_can() -> None:
    assert TaggedUnionTypeInfo(Types.LONG(), Types.STRING()).immutable
    assert not TaggedUnionTypeInfo(Types.LONG(), GENERIC).immutable


def test_rows_are_taken_in_other_clothes_and_strangers_refused() -> None:
    serializer = VALUES["row and pickle"][0].serializer()
    assert serializer.loads_batch(serializer.dumps_batch([(1, (7,))])) == [(1, Row(7))]
    with pytest.raises(RecordSerializationError, match="TAGGED_UNION"):
        serializer.dumps_batch([(1, Row(7)), 8])
