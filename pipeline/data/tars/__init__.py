"""Read and write tars: the only room that knows how they are laid out.

- `stream`: a shard as it is read from its file: hashed, unfolded if it is gzipped, forwards only
- `members`: the files of a tar, one after the other, with bounded memory
- `listing`: which files belong to one sample
- `writing`: a tar of named bytes
"""

__all__ = ["listing", "members", "stream", "writing"]
