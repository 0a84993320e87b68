from millstream import SlotSharingGroup, StreamExecutionEnvironment

env = StreamExecutionEnvironment.get_execution_environment()
heavy = SlotSharingGroup.builder("heavy").set_cpu_cores(2).build()

numbers = env.from_sequence(1, 3)
squares = numbers.map(lambda number: number * number).name("square")
checked = squares.filter(lambda number: number != 4).name("check").start_new_chain()
halves = checked.map(lambda number: number / 2).name("halve").disable_chaining()
scored = halves.map(lambda number: number + 1).name("score").slot_sharing_group(heavy)
scored.print()

client = env.execute_async()
client.wait(timeout_s=30)
for vertex in client.statistics().vertices:
    print(vertex.parallelism, "x", vertex.name)
