"""PyFlink programs unchanged: `install()` lets `import pyflink` find Millstream.

The modules that DataStream programs import from exist under their names and hand out Millstream's classes. A name that has no
counterpart raises an error; where there is something to use instead, it says what (`missing.py`).
"""

from .alias import MissingInMillstream as MissingInMillstream
from .alias import install as install

__all__ = ["MissingInMillstream", "install"]
