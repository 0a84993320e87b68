import time

from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.enable_checkpointing(20)
config = env.get_checkpoint_config()
config.set_checkpoint_storage_dir("checkpoints")
config.enable_unaligned_checkpoints()
config.set_aligned_checkpoint_timeout(10)


def slow(number: int) -> int:
    time.sleep(0.001)
    return number


stream = env.from_sequence(1, 500).key_by(lambda number: number % 10).map(slow)
with stream.execute_and_collect() as results:
    received = list(results)

print(f"{len(received)} records, {len(set(received))} different")
