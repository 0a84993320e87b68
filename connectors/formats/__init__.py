"""JSON and CSV: rows of a declared type from and to bytes, and CSV files as a stream format. Names are PyFlink's."""

from .csv import CsvReaderFormat as CsvReaderFormat
from .csv import CsvRowDeserializationSchema as CsvRowDeserializationSchema
from .csv import CsvRowSerializationSchema as CsvRowSerializationSchema
from .csv_schema import CsvSchema as CsvSchema
from .csv_schema import CsvSchemaBuilder as CsvSchemaBuilder
from .json import JsonRowDeserializationSchema as JsonRowDeserializationSchema
from .json import JsonRowSerializationSchema as JsonRowSerializationSchema

__all__ = [
    "CsvReaderFormat",
    "CsvRowDeserializationSchema",
    "CsvRowSerializationSchema",
    "CsvSchema",
    "CsvSchemaBuilder",
    "JsonRowDeserializationSchema",
    "JsonRowSerializationSchema",
]
