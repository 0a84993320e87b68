"""The operator behind a source reader, under the name that graphs use."""

from .timestamps import SourceOperator as SourceOperator
from .timestamps import SourceSpec as SourceSpec
