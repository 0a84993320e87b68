from millstream import JobStatus, StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.from_sequence(1, 3).map(lambda number: number * number).print("square")

client = env.execute_async("squares")
result = client.wait(timeout_s=30)

print(client.get_job_status().result() is JobStatus.FINISHED)
print(result.get_job_id() == client.get_job_id())
