"""Sources that compute their records: no outside system, the same records on every replay."""

from .rate_limit import RateLimiterStrategy as RateLimiterStrategy
from .source import DataGeneratorSource as DataGeneratorSource
from .source import NumberSequenceSource as NumberSequenceSource

__all__ = ["DataGeneratorSource", "NumberSequenceSource", "RateLimiterStrategy"]
