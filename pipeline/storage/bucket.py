"""Files in a bucket or behind a web server, by URL. The only file that knows obstore.

Credentials come from the environment, as the services' own tools take them (AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL,
GOOGLE_APPLICATION_CREDENTIALS, AZURE_STORAGE_ACCOUNT_KEY, roles of the machine, ...), never from the URL.
"""

import io
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any, BinaryIO, TypeVar

import obstore
from obstore import exceptions

from pipeline.errors import BadInput, StorageError
from pipeline.storage.files import AGED, Entry

T = TypeVar("T")

PATIENCE = 180.0
"""Seconds for which a request is tried again before it is given up; the last try may run over."""

PAUSES = (0.1, 15.0)
"""Seconds between the first tries, and the most between later ones: doubled each time, by chance shorter."""

BUFFER = 8 << 20
"""Bytes asked for at a time where a file is read from start to end."""

SMALL = 1 << 20
"""Bytes of a file that is sooner read whole than asked for by parts."""

_PAGE = 1000
_PROBE = ".probe-"
_CLIENT = {"connect_timeout": "10s", "read_timeout": "120s", "timeout": "300s", "allow_http": True}
_FINAL = (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError, exceptions.NotSupportedError)

_MAY_LACK = ("looked at", "read", "removed")
"""What can be done to a file that is not there; for what else, the bucket itself is missing."""


class _Unclear(Exception):
    """Somebody else was writing the same file, and nobody can say yet whether it will be there."""


class Bucket:
    """The objects under a URL: s3://, gs:// or az://; https:// to read from."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.url, self._patience = url.rstrip("/"), patience
        first, most = (timedelta(seconds=seconds) for seconds in PAUSES)
        retry = {"max_retries": 10, "retry_timeout": timedelta(seconds=patience)}
        retry["backoff"] = {"init_backoff": first, "max_backoff": most}
        web = self.url.startswith("http")  # also where it is a service's own address: whoever gives that has no credentials
        made: Any = obstore.store.HTTPStore.from_url if web else obstore.store.from_url
        try:
            self._store: Any = made(self.url, client_options=_CLIENT, retry_config=retry)
        except (exceptions.BaseError, ValueError) as error:
            raise BadInput(
                f"{self.url}: {explained(error)}: give a URL such as s3://bucket/folder, and in the environment what "
                "its service asks for"
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
                f"{self.url}: the service lets a second writer overwrite the first one's file (it ignores If-None-Match), "
                "so that rows could be lost or doubled: use a service with conditional writes, or a mounted file system"
            )

    def entry(self, name: str) -> Entry | None:
        try:
            return _entry(self._patiently("looked at", name, lambda: self._store.head(name)))
        except FileNotFoundError:
            return None

    def read(self, name: str, stop: int | None = None) -> bytes | None:
        options = None if stop is None else {"range": (0, stop)}
        try:
            return self._patiently("read", name, lambda: bytes(self._store.get(name, options=options).bytes()))
        except FileNotFoundError:
            return None

    def open(self, name: str, size: int | None = None) -> BinaryIO:
        if size is None:
            size = _entry(self._patiently("looked at", name, lambda: self._store.head(name))).bytes
        if size <= SMALL:
            return io.BytesIO(self._patiently("read", name, lambda: bytes(self._store.get(name).bytes())))

        def part(start: int, length: int) -> memoryview:
            return memoryview(
                self._patiently("read", name, lambda: self._store.get_range(name, start=start, length=length)),
            )

        return io.BufferedReader(_Parts(part, size), BUFFER)

    def create(self, name: str, data: bytes) -> bool:
        mine = uuid.uuid4().hex

        def put() -> bool:
            try:
                self._store.put(name, data, mode="create", attributes={"writer": mine}, use_multipart=False)
            except exceptions.AlreadyExistsError:
                return self._writer(name) == mine  # after a connection that broke, what is there may be ours
            return True

        return self._patiently("written", name, put)

    def replace(self, name: str, data: bytes) -> None:
        self._patiently("written", name, lambda: self._store.put(name, data, use_multipart=False))

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            self._patiently("removed", name, lambda: self._store.delete(name))

    def folders(self, folder: str) -> list[str]:
        found = self._patiently("listed", folder, lambda: self._store.list_with_delimiter(folder))["common_prefixes"]
        return sorted(path for path in found if not _hidden(path))

    def names(self, folder: str) -> Iterator[str]:
        return (entry.name for entry in self.entries(folder))

    def entries(self, folder: str) -> Iterator[Entry]:
        return (entry for entry in self._all(folder) if not _hidden(entry.name))

    def sweep(self) -> None:
        for entry in self._all(""):
            if entry.name.startswith(_PROBE) and time.time() - entry.modified > AGED:
                self.remove(entry.name)

    def _all(self, folder: str) -> Iterator[Entry]:
        """The objects in a folder. Of the root, which holds folders, only what lies in it itself is asked for."""
        if not folder:
            found = self._patiently("listed", folder, lambda: self._store.list_with_delimiter(folder))["objects"]
            yield from map(_entry, found)
            return
        last, pages = None, self._store.list(folder, chunk_size=_PAGE)

        def following() -> Any:
            nonlocal pages
            try:
                return next(pages, None)
            except exceptions.BaseError:  # a listing that broke off would end here, as if it were whole
                pages = self._store.list(folder, offset=last, chunk_size=_PAGE)
                raise

        while page := self._patiently("listed", folder, following):
            yield from (_entry(meta) for meta in page if "/" not in meta["path"][len(folder) + 1 :])
            last = page[-1]["path"]

    def _writer(self, name: str) -> str | None:
        """Who wrote an object. Raises _Unclear if it is not there after all."""
        try:
            return self._store.get(name, options={"head": True}).attributes.get("writer")
        except FileNotFoundError:
            raise _Unclear("a conflicting write was under way") from None

    def _patiently(self, what: str, name: str, call: Callable[[], T]) -> T:
        """A request, repeated where obstore's own retries end: connections that break in a listing or after a write."""
        end, pause = time.monotonic() + self._patience, PAUSES[0]
        while True:
            try:
                return call()
            except (exceptions.BaseError, FileNotFoundError, _Unclear) as error:
                if isinstance(error, FileNotFoundError) and what in _MAY_LACK:
                    raise
                if isinstance(error, _FINAL) or _refusal(error) or time.monotonic() + pause > end:
                    place = f"{self.url}/{name}" if name else self.url  # the error itself is kept back: it may hold signatures
                    raise StorageError(f"{place} can not be {what}: {explained(error)}; {_remedy(error)}") from None
            time.sleep(pause)
            pause = min(2 * pause, PAUSES[1])


class _Parts(io.RawIOBase):
    """A file that is asked for part by part."""

    def __init__(self, part: Callable[[int, int], memoryview], size: int) -> None:
        self._part, self._size, self._at = part, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        length = min(len(buffer), self._size - self._at)
        if length <= 0:
            return 0
        part = self._part(self._at, length)
        buffer[: len(part)] = part
        self._at += len(part)
        return len(part)


def _entry(meta: Any) -> Entry:
    return Entry(meta["path"], meta["size"], meta["last_modified"].timestamp())


def _hidden(path: str) -> bool:
    return path.rpartition("/")[2].startswith(".")


def _status(error: Exception) -> str:
    """The status of the last answer, such as "403 Forbidden", or nothing."""
    found = re.search(r"status code: (\d{3} [A-Za-z ]+)", str(error))
    return found[1].strip() if found else ""


def _refusal(error: Exception) -> bool:
    """Whether the answer will be the same next time."""
    return _status(error)[:1] == "4" and _status(error)[:3] not in ("408", "409", "429")


def explained(error: Exception) -> str:
    """An error of obstore in a few words. Queries are left out: signatures may stand there."""
    said = str(error)
    if "169.254.169.254" in said or "metadata.google" in said:
        return "the environment holds no credentials"
    if status := _status(error):
        code, message = (re.search(f"<{tag}>(.*?)</{tag}>", said) for tag in ("Code", "Message"))
        return f"{status} ({code[1]}: {message[1]})" if code and message else status
    cause = re.search(r'message: "([^"]+)"', said)
    short = " ".join(said.partition("Debug source")[0].split()).rpartition(" - ")[2]
    return re.sub(r"\?\S*", "", f"{short} ({cause[1]})" if cause else short)[:300]


def _remedy(error: Exception) -> str:
    said = str(error)
    if "169.254.169.254" in said or "metadata.google" in said:
        return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS"
    if isinstance(error, exceptions.NotSupportedError):
        return "use a service that answers requests for parts of a file, and conditional writes"
    if _status(error)[:3] in ("401", "403"):
        return "check the credentials in the environment and the bucket's policy"
    if _status(error)[:3] in ("404", "507"):
        return "check the URL, and that the bucket is there and has room"
    return "check the endpoint (AWS_ENDPOINT_URL) and the network, and run again when the service answers"
