import json

from millstream import StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
env.from_sequence(1, 3).map(lambda number: number + 1).name("increment").print()

for node in json.loads(env.get_execution_plan())["nodes"]:
    print(node["id"], node["type"])
