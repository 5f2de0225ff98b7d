"""Small real data sets that come with the package."""

import kgraph.datasets.digits as digits

__all__ = ["digits"]
