"""What is to be believed of each item when many have spoken and a few people have answered. Arrays and seeds only."""

from agent.posterior.near import nearest, neighbours
from agent.posterior.pooling import Pooled, pool
from agent.posterior.sources import Source, cast, starts

__all__ = ["Pooled", "Source", "cast", "nearest", "neighbours", "pool", "starts"]
