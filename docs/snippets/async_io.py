import asyncio

from millstream import AsyncDataStream, Duration, StreamExecutionEnvironment


async def look_up(user_id: int) -> list[str]:
    await asyncio.sleep(0.01)  # a database or a service
    return [f"user {user_id}"]


env = StreamExecutionEnvironment.get_execution_environment()
ids = env.from_sequence(1, 4)
users = AsyncDataStream.ordered_wait(
    ids, look_up, Duration.of_seconds(5), capacity=100, output_type=str
)
users.print()
env.execute()
