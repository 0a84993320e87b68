from pathlib import Path

from millstream import Configuration, StreamExecutionEnvironment

SETTINGS = Configuration()
SETTINGS.set_string("execution.checkpointing.interval", "20 ms")
SETTINGS.set_string("execution.checkpointing.dir", "checkpoints")
SETTINGS.set_string("restart-strategy.type", "fixed-delay")
SETTINGS.set_string("restart-strategy.fixed-delay.delay", "10 ms")

HAS_FAILED = Path("has-failed").absolute()


def fails_once(number: int) -> int:
    if number == 20_000 and not HAS_FAILED.exists():
        HAS_FAILED.touch()
        message = "the disk was away for a moment"
        raise OSError(message)
    return number


env = StreamExecutionEnvironment.get_execution_environment(SETTINGS)
with env.from_sequence(1, 30_000).map(fails_once).execute_and_collect() as results:
    received = list(results)
    restarts = results.get_job_client().statistics().restarts

print(f"{len(received)} records, {len(set(received))} different, {restarts} restart")
