"""Read a tar that is made while it is read: nothing of it is stored, and little of it is in memory."""

from collections.abc import Iterable

from pipeline.data.tars.writing import blocks


class Generated:
    """Give the bytes of the tar of some files, (name, content), in order."""

    def __init__(self, files: Iterable[tuple[str, bytes]]) -> None:
        self._blocks, self._ahead = blocks(files), b""

    def read(self, size: int = -1) -> bytes:
        """Return the next `size` bytes, fewer at the end; default: all that are left."""
        parts, left = [self._ahead], size - len(self._ahead) if size >= 0 else 1
        self._ahead = b""
        while left > 0 and (block := next(self._blocks, None)) is not None:
            parts.append(block)
            left -= len(block) if size >= 0 else 0
        data = b"".join(parts)
        if size >= 0:
            data, self._ahead = data[:size], data[size:]
        return data
