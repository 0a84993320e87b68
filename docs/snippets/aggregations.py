from typing import NamedTuple

from millstream import StreamExecutionEnvironment


class Offer(NamedTuple):
    product: str
    shop: str
    cents: int


env = StreamExecutionEnvironment.get_execution_environment()
offers = env.from_collection(
    [Offer("tea", "north", 300), Offer("tea", "south", 250), Offer("tea", "east", 400)],
    Offer,
)
by_product = offers.key_by(lambda offer: offer.product, str)

by_product.min_by("cents").print("cheapest so far")
by_product.sum("cents").print("sum so far")
env.execute()
