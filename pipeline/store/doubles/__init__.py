"""Find images that stand twice in a cell of a store.

- `keys`: by all keys of its rows
- `images`: without the keys that an earlier cell has too
"""

from pipeline.store.doubles.images import Images
from pipeline.store.doubles.keys import IMAGE, refuse_doubles

__all__ = ["IMAGE", "Images", "refuse_doubles"]
