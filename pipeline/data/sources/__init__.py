"""Read images from other places than packed shards, as if they were: each kind gives the tar that `barrage pack` would write.

So all kinds are listed, hashed and read by the same code, with the same limits, and give the same rows.

- `kinds`: the protocol, and the table of kinds by the ending of a shard's path
- `files`: a folder of images, a table of paths and labels
- `parquet`: the Parquet layout of Hugging Face
- `arrays`: NumPy arrays
- `generated`: a tar that is made while it is read
"""

__all__ = ["arrays", "files", "generated", "kinds", "parquet"]
