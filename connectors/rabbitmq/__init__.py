"""RabbitMQ: `RabbitMQSource` acknowledges only what a checkpoint covers, `RabbitMQSink` writes with publisher confirms.

Needs the extra `rabbitmq` (`pip install 'millstream[rabbitmq]'`). Importing this package loads no client library.
"""

from ..schemas import DeserializationSchema as DeserializationSchema
from ..schemas import JsonSchema as JsonSchema
from ..schemas import SerializationSchema as SerializationSchema
from ..schemas import SimpleStringSchema as SimpleStringSchema
from .connection_config import RMQConnectionConfig as RMQConnectionConfig
from .message import RabbitMQMessage as RabbitMQMessage
from .sink import RabbitMQSink as RabbitMQSink
from .sink import RabbitMQSinkBuilder as RabbitMQSinkBuilder
from .sink import RMQSink as RMQSink
from .source import RabbitMQSource as RabbitMQSource
from .source import RabbitMQSourceBuilder as RabbitMQSourceBuilder
from .source import RMQSource as RMQSource

__all__ = [
    "DeserializationSchema",
    "JsonSchema",
    "RMQConnectionConfig",
    "RMQSink",
    "RMQSource",
    "RabbitMQMessage",
    "RabbitMQSink",
    "RabbitMQSinkBuilder",
    "RabbitMQSource",
    "RabbitMQSourceBuilder",
    "SerializationSchema",
    "SimpleStringSchema",
]
