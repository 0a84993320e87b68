from pathlib import Path

from millstream import Row, StreamExecutionEnvironment, Types, WatermarkStrategy
from millstream.connectors.files import FileSource
from millstream.connectors.formats import (
    CsvReaderFormat,
    CsvRowSerializationSchema,
    CsvSchema,
)

Path("orders.csv").write_text(
    'user,amount,paid,tags\n"Lovelace, Ada",3,true,new;gift\nBob,n/a,false,\n',
    encoding="utf-8",
)
ORDERS = (
    CsvSchema.builder()
    .add_string_column("user")
    .add_number_column("amount", Types.LONG())
    .add_boolean_column("paid")
    .add_array_column("tags")
    .set_null_value("n/a")
    .set_use_header()
    .build()
)
SHORT = Types.ROW_NAMED(["user", "amount"], [Types.STRING(), Types.LONG()])
WRITING = CsvRowSerializationSchema.Builder(SHORT).set_null_literal("n/a").build()

env = StreamExecutionEnvironment.get_execution_environment()
source = FileSource.for_record_stream_format(
    CsvReaderFormat.for_schema(ORDERS), "orders.csv"
).build()
orders = env.from_source(source, WatermarkStrategy.no_watermarks(), "orders")
orders.print()
orders.map(lambda order: WRITING.serialize(Row(order[0], order[1])), bytes).print("csv")
env.execute()
