from collections.abc import Iterator

from millstream import Row, StreamExecutionEnvironment, Types
from millstream.connectors.formats import (
    JsonRowDeserializationSchema,
    JsonRowSerializationSchema,
)

ORDER = Types.ROW_NAMED(
    ["user", "amount", "tags"],
    [Types.STRING(), Types.LONG(), Types.LIST(Types.STRING())],
)
READING = (
    JsonRowDeserializationSchema.builder()
    .type_info(ORDER)
    .ignore_parse_errors()
    .build()
)
WRITING = JsonRowSerializationSchema.builder().with_type_info(ORDER).build()


def parse(message: bytes) -> Iterator[Row]:
    row = READING.deserialize(message)
    if row is not None:  # it is None for what is no order, as errors are ignored
        yield row


env = StreamExecutionEnvironment.get_execution_environment()
messages = env.from_collection(
    [
        b'{"user": "ada", "amount": 3, "tags": ["new", "gift"], "note": "-"}',
        b'{"user": "bob", "amount": "many"}',
        b'{"user": "bob", "amount": 5}',
    ],
    bytes,
)
orders = messages.flat_map(parse, ORDER)
orders.print()
orders.map(WRITING.serialize, bytes).print("json")
env.execute()
