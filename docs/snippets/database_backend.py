from millstream import PostgreSQLStateBackend, StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
backend = PostgreSQLStateBackend(
    "postgresql://flow:secret@db.example:5432/state", schema="clicks"
)
env.set_state_backend(backend)
print(backend)  # never with its URL, which may hold a password
