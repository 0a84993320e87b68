from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
web = env.from_collection([("web", 1), ("web", 2)])
app = env.from_collection([("app", 3)])

print(sorted(web.union(app).execute_and_collect()))
