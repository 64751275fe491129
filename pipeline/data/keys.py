"""Check the keys of images when a shard is read, before any work: a key stands in rows, in file names of tars, on terminals."""

import unicodedata

MAX_KEY = 1024
"""Bytes of a key, in UTF-8."""

_CONTROL = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories: control characters, bytes that are no UTF-8, line and paragraph separators."""


def fault(key: str) -> str:
    """Return what is wrong with a key, empty for a good one. Bytes that are no UTF-8 are surrogates, as in `tarfile`."""
    parts = key.split("/")
    if any(unicodedata.category(letter) == "Cs" for letter in key):
        return "its key is not UTF-8"
    if any(unicodedata.category(letter) in _CONTROL for letter in key):
        return "its key holds control characters"
    if len(key.encode()) > MAX_KEY:
        return f"its key has {len(key.encode())} bytes, more than {MAX_KEY}"
    if key.startswith("/") or ".." in parts or not all(parts):
        return "its key is no path below a folder: it begins with /, or has empty parts or .."
    return ""


def shown(key: str) -> str:
    """Return a key as text that can stand anywhere: what is odd in it is written as an escape, and what is long is cut."""
    text = key.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    text = "".join(ascii(letter)[1:-1] if unicodedata.category(letter) in _CONTROL else letter for letter in text)
    return text if len(text) <= MAX_KEY else f"{text[:100]}..."
