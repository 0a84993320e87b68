"""`RabbitMQSource` in a job with several subtasks that fails in the middle."""

from __future__ import annotations

from pathlib import Path

from millstream import StreamExecutionEnvironment, WatermarkStrategy
from millstream.dev.rabbitmq import QueueDepth
from millstream.dev.server import Server
from tests.integration.kafka.harness import wait_until
from tests.integration.rabbitmq.broker import declare, local, publish, source_of, texts


def test_a_job_that_fails_in_the_middle_counts_each_id_once(rabbitmq: Server, tmp_path: Path) -> None:
    broker, queue = local(rabbitmq), declare(rabbitmq, "quorum")
    publish(rabbitmq, queue, range(600))
    failed = tmp_path / "failed"

    def fail_once(text: str) -> tuple[str, int]:
        # Few messages are taken for each checkpoint, so by now some have completed.
        if text == "450" and not failed.exists():
            failed.touch()
            raise RuntimeError("planted")
        return text, 1

    source = source_of(rabbitmq, queue).set_prefetch_count(40).set_bounded().build()
    env = StreamExecutionEnvironment.get_execution_environment()
    env.set_parallelism(3)
    env.enable_checkpointing(100)
    env.get_checkpoint_config().set_checkpoint_storage_dir(f"file://{tmp_path / 'checkpoints'}")
    counts = (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "queue")
        .map(fail_once)
        .key_by(lambda pair: pair[0])
        .reduce(lambda a, b: (a[0], a[1] + b[1]))
    )
    with counts.execute_and_collect() as results:
        found = set(results)
    assert failed.exists()
    assert found == {(text, 1) for text in texts(range(600))}
    wait_until(lambda: broker.depth(queue) == QueueDepth(0, 0), "the queue is empty")
