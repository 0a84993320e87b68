from dataclasses import dataclass

from millstream import Row, StreamExecutionEnvironment, Types


@dataclass(frozen=True)
class Point:
    x: int
    y: int
    label: str = ""


def mirrored(point: Point) -> Point:
    return Point(point.y, point.x, point.label)


env = StreamExecutionEnvironment.get_execution_environment()

points = env.from_collection([Point(1, 2, "p")], Point).map(mirrored)  # from the hints
print(points.get_type().name)

rows = env.from_collection(
    [Row(name="ann", age=41)],
    Types.ROW_NAMED(["name", "age"], [Types.STRING(), Types.INT()]),
)
print(
    rows.map(lambda row: row["age"] + 1, output_type=Types.INT()).execute_and_collect(
        limit=1
    )
)
print(points.execute_and_collect(limit=1))
