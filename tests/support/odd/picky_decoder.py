"""A process that decodes as `pipeline.data.guarded` has it, but for images whose first bytes ask it to crash, spin or grow."""

import os
import signal

from pipeline.data import guarded

ORDERS = {
    b"crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    b"abort": os.abort,
    b"kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"spin": lambda: [None for _ in iter(int, 1)],
    b"grow": lambda: bytearray(8 << 30),
    b"print": lambda: os.write(1, b"hello"),
    b"odd": lambda: {}[object],
}
"""{first bytes of an image: what is done at it}."""


def picky(image, *arguments):
    for word, obeyed in ORDERS.items():
        if image.startswith(word):
            obeyed()
            raise ValueError("what it was asked to do is done")
    return decoded(image, *arguments)


if __name__ == "__main__":
    decoded, guarded.decode_here, guarded.SECONDS = guarded.decode_here, picky, 1
    guarded.serve()
