"""Store files in a bucket, or read them from a web server. The only module that imports obstore.

Credentials come from the environment, by the names that the services' own tools use (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY, roles of the machine, ...), never from the URL.
"""

import io
import re
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, BinaryIO, TypeVar
from urllib.parse import quote

import obstore
from obstore import exceptions

from pipeline.errors import BadInput, StorageError
from pipeline.parallel import REQUESTS, map_ordered
from pipeline.storage.files import PART, STALE_SECONDS, Entry, Pieces, Place

T = TypeVar("T")

PATIENCE = 180.0
"""Seconds for which a failing request is repeated; the last try may take longer."""

PAUSES = (0.1, 15.0)
"""Seconds between the first tries, and the longest pause. Pauses double; obstore also shortens its own at random."""

LARGE = 64 << 20
"""Larger files are read in parts, several at a time, and so that one that fails costs itself alone."""

MOST_PARTS = 9000
"""Parts of a file that is written, at most; S3 takes 10,000."""

SMALL = 1 << 20
"""Files up to this many bytes are read in one request."""

_PAGE = 1000
_PROBE = ".probe-"
_CLIENT = {"connect_timeout": "10s", "read_timeout": "120s", "timeout": "300s", "allow_http": True}
_FINAL = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, exceptions.NotSupportedError)

_CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"),
    "gs": ("GOOGLE_APPLICATION_CREDENTIALS", "gcs_base_url in the file of GOOGLE_SERVICE_ACCOUNT"),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ENDPOINT"),
}
"""{scheme of a URL: what holds the credentials of its service, and what its address}; other schemes go to the web."""

_MAY_BE_ABSENT = ("examined", "read", "removed")
"""Actions for which a missing file is an answer; for others it means that the bucket is missing."""


class _Undecided(Exception):
    """Say that another writer was writing the same file, and it is not known yet whether it succeeded."""


class Bucket:
    """Access the objects under an s3://, gs:// or az:// URL; https:// URLs can only be read.

    patience  seconds for which failing requests are repeated
    """

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.url, self._patience = url.rstrip("/"), patience
        first, longest = (timedelta(seconds=seconds) for seconds in PAUSES)
        retry = {"max_retries": 10, "retry_timeout": timedelta(seconds=patience)}
        retry["backoff"] = {"init_backoff": first, "max_backoff": longest}
        web = self.url.startswith("http")  # also for a storage service's own address: such URLs come without credentials
        from_url: Any = obstore.store.HTTPStore.from_url if web else obstore.store.from_url
        try:
            self._store: Any = from_url(self.url if web else _quoted(self.url), client_options=_CLIENT, retry_config=retry)
        except (exceptions.BaseError, ValueError) as error:
            raise BadInput(
                f"{self.url}: {explained(error)}: give a URL such as s3://bucket/folder, and its service's credentials in the "
                "environment"
            ) from None

    def ready(self) -> None:
        if self.url.startswith("http"):
            raise BadInput(f"{self.url} can only be read: give a folder, or an s3://, gs:// or az:// URL")
        name = _PROBE + uuid.uuid4().hex
        try:
            once, twice = self.create(name, b"first"), self.create(name, b"second")
            self.remove(name)
        except StorageError as error:
            raise BadInput(str(error)) from None
        if not once or twice:
            raise BadInput(
                f"{self.url}: the service lets a second writer overwrite the first one's file (it ignores the condition), "
                "so rows could be lost or doubled: use a service with conditional writes, or a mounted file system"
            )

    def entry(self, name: str) -> Entry | None:
        try:
            return _entry(self._patiently("examined", name, lambda: self._store.head(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str, stop: int | None = None) -> bytes | None:
        options = None if stop is None else {"range": (0, stop)}

        def got() -> bytes | int:
            """Return the bytes, or of a large file that is wanted whole their number."""
            found = self._store.get(name, options=options)
            size = int(found.meta["size"])
            return size if stop is None and size > LARGE else bytes(found.bytes())

        try:
            data = self._patiently("read", name, got)
            return data if isinstance(data, bytes) else self._large(name, data)
        except FileNotFoundError:
            return None

    def _large(self, name: str, size: int) -> bytes:
        """Return a file of `size` bytes, read in parts: a request for all of it would outlast its time limit."""
        return b"".join(self.parts(name, [(begin, min(PART, size - begin)) for begin in range(0, size, PART)]))

    def parts(self, name: str, places: Sequence[Place]) -> list[bytes]:
        def got(place: Place) -> bytes:  # not the library's `get_ranges`, which makes one request of ranges that touch
            begin, size = place
            return bytes(self._patiently("read", name, lambda: self._store.get_range(name, start=begin, length=size)))

        return list(map_ordered(got, places))

    def open(self, name: str, size: int | None = None) -> BinaryIO:
        if size is None:
            size = _entry(self._patiently("examined", name, lambda: self._store.head(name))).bytes
        if size <= SMALL:
            return io.BytesIO(self._patiently("read", name, lambda: bytes(self._store.get(name).bytes())))

        def part(start: int, length: int) -> memoryview:
            """Return `length` bytes from `start`."""
            return memoryview(
                self._patiently("read", name, lambda: self._store.get_range(name, start=start, length=length)),
            )

        return io.BufferedReader(_Parts(part, size), PART)

    def create(self, name: str, data: bytes) -> bool:
        writer = uuid.uuid4().hex

        def put() -> bool:
            """Create the object; return whether this caller made it."""
            try:
                self._store.put(name, data, mode="create", attributes={"writer": writer}, use_multipart=False)
            except exceptions.AlreadyExistsError:
                return self._writer(name) == writer  # after a broken connection, the object may be this caller's
            return True

        return self._patiently("written", name, put)

    def replace(self, name: str, data: bytes | Pieces) -> None:
        if not isinstance(data, bytes) and data.size > PART:
            part = max(PART, data.size // MOST_PARTS)
            self._patiently("written", name, lambda: self._store.put(name, data, chunk_size=part, max_concurrency=REQUESTS))
            return
        whole = data if isinstance(data, bytes) else b"".join(data)
        self._patiently("written", name, lambda: self._store.put(name, whole, use_multipart=False))

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._patiently("removed", name, lambda: self._store.delete(name))

    def folders(self, folder: str) -> list[str]:
        paths = self._patiently("listed", folder, lambda: self._store.list_with_delimiter(folder))["common_prefixes"]
        return sorted(path for path in paths if not _hidden(path))

    def names(self, folder: str) -> Iterator[str]:
        return (entry.name for entry in self.entries(folder))

    def entries(self, folder: str) -> Iterator[Entry]:
        return (entry for entry in self._all(folder) if not _hidden(entry.name))

    def sweep(self) -> None:
        for entry in self._all(""):
            if entry.name.startswith(_PROBE) and time.time() - entry.modified > STALE_SECONDS:
                self.remove(entry.name)

    def _all(self, folder: str) -> Iterator[Entry]:
        """Yield the objects in a folder, without those of folders in it."""
        if not folder:
            objects = self._patiently("listed", folder, lambda: self._store.list_with_delimiter(folder))["objects"]
            yield from map(_entry, objects)
            return
        last, pages = None, self._store.list(folder, chunk_size=_PAGE)

        def next_page() -> Any:
            """Return the next page, or None at the end."""
            nonlocal pages
            try:
                return next(pages, None)
            except exceptions.BaseError:  # without a new listing, a broken one would look complete
                pages = self._store.list(folder, offset=last, chunk_size=_PAGE)
                raise

        while page := self._patiently("listed", folder, next_page):
            yield from (_entry(meta) for meta in page if "/" not in meta["path"][len(folder) + 1 :])
            last = page[-1]["path"]

    def _writer(self, name: str) -> str | None:
        """Return the name that the writer gave an object. Raises _Undecided if it does not exist after all."""
        try:
            return self._store.get(name, options={"head": True}).attributes.get("writer")
        except FileNotFoundError:
            raise _Undecided("a conflicting write was under way") from None

    def _patiently(self, action: str, name: str, call: Callable[[], T]) -> T:
        """Return the result of a request; repeat it where obstore does not: after a connection broke in a listing or a write.

        action  a participle for the message, such as "read"
        """
        end, pause = time.monotonic() + self._patience, PAUSES[0]
        while True:
            try:
                return call()
            except (exceptions.BaseError, FileNotFoundError, _Undecided) as error:
                if isinstance(error, FileNotFoundError) and action in _MAY_BE_ABSENT:
                    raise
                if isinstance(error, _FINAL) or _permanent(error) or time.monotonic() + pause > end:
                    url = f"{self.url}/{name}" if name else self.url  # not the error's own text, which may hold signatures
                    raise StorageError(f"{url} can not be {action}: {explained(error)}; {_remedy(error, url)}") from None
            time.sleep(pause)
            pause = min(2 * pause, PAUSES[1])


class _Parts(io.RawIOBase):
    """Read a file by requests for its parts.

    part  returns `length` bytes from `start`
    size  bytes of the file
    """

    def __init__(self, part: Callable[[int, int], memoryview], size: int) -> None:
        self._part, self._size, self._position = part, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._position = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence])
        return self._position

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._position)
        if length <= 0:
            return 0
        part = self._part(self._position, length)
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


def _quoted(url: str) -> str:
    """Return the URL of a folder in a bucket as obstore reads it: services take % and # of a name as they are."""
    scheme, _, rest = url.partition("://")
    bucket, slash, folder = rest.partition("/")
    return f"{scheme}://{bucket}{slash}{quote(folder)}"


def _entry(meta: Any) -> Entry:
    """Return obstore's description of an object as an Entry."""
    return Entry(meta["path"], meta["size"], meta["last_modified"].timestamp())


def _hidden(path: str) -> bool:
    """Return whether the last part of a path begins with a dot."""
    return path.rpartition("/")[2].startswith(".")


def _status(error: Exception) -> str:
    """Return the status of the last answer, such as "403 Forbidden"; empty if there is none."""
    match = re.search(r"status code: (\d{3} [A-Za-z ]+)", str(error))
    return match[1].strip() if match else ""


def _permanent(error: Exception) -> bool:
    """Return whether the service would answer so again: any status 4xx but time-out, conflict, rate limit; without ranges."""
    return _without_ranges(error) or (_status(error)[:1] == "4" and _status(error)[:3] not in ("408", "409", "429"))


def explained(error: Exception) -> str:
    """Return the message of an obstore error in a few words, without URL queries, which may hold signatures."""
    text = str(error)
    if _no_credentials(text):
        return "the environment holds no credentials"
    if status := _status(error):
        code, message = (re.search(f"<{tag}>(.*?)</{tag}>", text) for tag in ("Code", "Message"))
        return f"{status} ({code[1]}: {message[1]})" if code and message else status
    cause = re.search(r'message: "([^"]+)"', text)
    short = " ".join(text.partition("Debug source")[0].split()).rpartition(" - ")[2]
    return re.sub(r"\?\S*", "", f"{short} ({cause[1]})" if cause else short)[:300]


def _no_credentials(text: str) -> bool:
    """Return whether obstore looked for credentials at the cloud machine's metadata service, its last resort."""
    return "169.254.169.254" in text or "metadata.google" in text


def _without_ranges(error: Exception) -> bool:
    """Return whether the service answered a request for a range as if for the whole, with a status other than 206."""
    return "non-partial response" in str(error)


def _remedy(error: Exception, url: str) -> str:
    """Return what the user can do about an error of the service that a URL names."""
    credentials, address = _CREDENTIALS.get(url.partition("://")[0], ("", ""))
    if _no_credentials(str(error)):
        return f"set {credentials}"
    if isinstance(error, exceptions.NotSupportedError) or _without_ranges(error):
        return "use a service with range requests and conditional writes"
    if _status(error)[:3] in ("401", "403"):
        return "check the credentials in the environment and the bucket's policy"
    if _status(error)[:3] in ("404", "507"):
        return "check the URL, and that the bucket exists and has room"
    return f"check the endpoint{address and f' ({address})'} and the network, and run again when the service answers"
