from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.connectors.schemas import (
    DeserializationSchema,
    JsonSchema,
    RowFieldExtractorSchema,
    SerializationSchema,
    SimpleStringSchema,
    deserializer_of,
    serializer_of,
)
from millstream.core.errors import JobDefinitionError
from millstream.core.types import Row

JSON = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(st.text())
def test_strings_survive(text: str) -> None:
    assert SimpleStringSchema().deserialize(SimpleStringSchema().serialize(text)) == text


@given(JSON)
def test_json_values_survive(value: object) -> None:
    assert JsonSchema().deserialize(JsonSchema().serialize(value)) == value


def test_strings_in_another_character_set() -> None:
    assert SimpleStringSchema("latin-1").serialize("ü") == b"\xfc"


def test_schemas_and_callables_become_one_callable() -> None:
    assert deserializer_of(SimpleStringSchema(), used_as="x")[0](b"a") == "a"
    assert deserializer_of(int, used_as="x") == (int, False)
    assert serializer_of(str.encode, used_as="x")("a") == b"a"


def test_only_schemas_that_say_so_never_drop_a_record() -> None:
    assert deserializer_of(SimpleStringSchema(), used_as="x")[1]
    assert not deserializer_of(JsonSchema(), used_as="x")[1]


def test_a_schema_of_ones_own() -> None:
    class Reversed(DeserializationSchema[str], SerializationSchema[str]):
        def deserialize(self, message: bytes) -> str:
            return message.decode()[::-1]

        def serialize(self, element: str) -> bytes:
            return element[::-1].encode()

    assert deserializer_of(Reversed(), used_as="x")[0](serializer_of(Reversed(), used_as="x")("abc")) == "abc"


@given(st.lists(st.binary(), min_size=1), st.data())
def test_one_field_of_a_row_is_written_as_it_is(fields: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(fields) - 1))
    assert serializer_of(RowFieldExtractorSchema(index), used_as="key")(Row(*fields)) == fields[index]


def test_a_field_that_is_no_bytes_is_refused() -> None:
    with pytest.raises(TypeError, match=r"field 1 of .* must hold bytes, not str"):
        RowFieldExtractorSchema(field_index=1).serialize(Row(b"key", "value"))
    for wrong in (-1, True, "0"):
        with pytest.raises(JobDefinitionError, match="from 0 on"):
            RowFieldExtractorSchema(wrong)


@pytest.mark.parametrize("wrong", [SimpleStringSchema, 7, None, "utf-8"])
def test_what_is_no_schema_is_refused_with_its_use(wrong: object) -> None:
    for resolve in (deserializer_of, serializer_of):
        with pytest.raises(JobDefinitionError, match="value schema") as caught:
            resolve(wrong, used_as="value schema")
        assert "SimpleStringSchema()" in caught.value.fix
