"""RabbitMQ: a source that acknowledges only what a checkpoint covers.

Needs the extra `rabbitmq` (`pip install 'millstream[rabbitmq]'`). Importing this package loads no client library.
"""

from ..schemas import DeserializationSchema as DeserializationSchema
from ..schemas import JsonSchema as JsonSchema
from ..schemas import SerializationSchema as SerializationSchema
from ..schemas import SimpleStringSchema as SimpleStringSchema
from .connection_config import RMQConnectionConfig as RMQConnectionConfig
from .sink import RabbitMQSink as RabbitMQSink
from .sink import RabbitMQSinkBuilder as RabbitMQSinkBuilder
from .sink import RMQSink as RMQSink

__all__ = [
    "DeserializationSchema",
    "JsonSchema",
    "RMQConnectionConfig",
    "RMQSink",
    "RabbitMQSink",
    "RabbitMQSinkBuilder",
    "SerializationSchema",
    "SimpleStringSchema",
]
