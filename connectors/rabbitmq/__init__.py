"""RabbitMQ: a source that acknowledges only what a checkpoint covers.

Needs the extra `rabbitmq` (`pip install 'millstream[rabbitmq]'`). Importing this package loads no client library.
"""

from .connection_config import RMQConnectionConfig as RMQConnectionConfig

__all__ = ["RMQConnectionConfig"]
