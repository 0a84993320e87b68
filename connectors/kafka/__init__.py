"""Kafka: `KafkaSource` reads topics with its offsets in the checkpoints, `KafkaSink` writes with a chosen guarantee.

Needs the extra `kafka` (`pip install 'millstream[kafka]'`). Importing this package loads no client library.
"""

from ..schemas import ByteArraySchema as ByteArraySchema
from ..schemas import DeserializationSchema as DeserializationSchema
from ..schemas import JsonSchema as JsonSchema
from ..schemas import SerializationSchema as SerializationSchema
from ..schemas import SimpleStringSchema as SimpleStringSchema
from .offsets import KafkaOffsetsInitializer as KafkaOffsetsInitializer
from .partitions import DeliveryGuarantee as DeliveryGuarantee
from .partitions import KafkaOffsetResetStrategy as KafkaOffsetResetStrategy
from .partitions import KafkaRecord as KafkaRecord
from .partitions import KafkaTopicPartition as KafkaTopicPartition
from .serialization import KafkaRecordSerializationSchema as KafkaRecordSerializationSchema
from .serialization import KafkaRecordSerializationSchemaBuilder as KafkaRecordSerializationSchemaBuilder
from .serialization import KafkaTopicSelector as KafkaTopicSelector
from .sink import KafkaSink as KafkaSink
from .sink import KafkaSinkBuilder as KafkaSinkBuilder
from .source import KafkaSource as KafkaSource
from .source import KafkaSourceBuilder as KafkaSourceBuilder

__all__ = [
    "ByteArraySchema",
    "DeliveryGuarantee",
    "DeserializationSchema",
    "JsonSchema",
    "KafkaOffsetResetStrategy",
    "KafkaOffsetsInitializer",
    "KafkaRecord",
    "KafkaRecordSerializationSchema",
    "KafkaRecordSerializationSchemaBuilder",
    "KafkaSink",
    "KafkaSinkBuilder",
    "KafkaSource",
    "KafkaSourceBuilder",
    "KafkaTopicPartition",
    "KafkaTopicSelector",
    "SerializationSchema",
    "SimpleStringSchema",
]
