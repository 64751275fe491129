"""Pack labelled image files into WebDataset shards: which files there are, what class each has, how classes are called.

- `files`: the image files below a folder, and what else is there
- `classes`: the names of classes, by label
- `labels`: the class of each file: by its folder, its name, or a table
- `writing`: shards, their index, and the names of the classes
"""

from pipeline.data.pack.labels import Labelled, Sort, labelled
from pipeline.data.pack.writing import pack, photographs

__all__ = ["Labelled", "Sort", "labelled", "pack", "photographs"]
