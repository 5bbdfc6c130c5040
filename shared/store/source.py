"""Sources of a store's bytes: a directory or a URL.

A reader asks for few things: the description, the logs that exist, what was added to a log, and byte ranges of
committed files. ``Local`` answers from a directory, ``Remote`` from object storage (S3, Google, Azure) or a web server,
through `obstore <https://developmentseed.org/obstore>`_, which is needed for that only.
"""

from __future__ import annotations

import errno
import functools
import os
import re
import stat
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from shared.errors import StoreError, TinyJEPAError, UnreachableError
from shared.store import layout

URL = re.compile(r"[a-z][a-z0-9]+://", re.IGNORECASE)

METADATA_SERVICE = "169.254.169.254"

TAIL_BYTES = 64 << 20
"""The most that one look at a log takes in; a longer line is none."""
DOCUMENT_BYTES = 16 << 20
"""Size of ``dataset.json`` or ``quarantine.json`` from which it is not ours."""

LOCAL_READERS = 4
REMOTE_READERS = 16
"""Numbers of threads that hide the latency of a disk, and of requests."""


def data_folder() -> Path:
    """The default folder of stores: ``$TINYJEPA_DATA`` or ``data``. Raises ``TinyJEPAError`` for a URL."""
    place = os.environ.get("TINYJEPA_DATA") or "data"
    if URL.match(place):
        raise TinyJEPAError(f"TINYJEPA_DATA is the URL {place}: set it to a directory, and read a URL by --store")
    return Path(place)


def default_store(world: str, data: Path | None = None, dataset: str | None = None) -> Path:
    """``DATA/WORLD`` or ``DATA/WORLD-DATASET``; DATA is ``data_folder`` unless given.

    What cannot be in a file name becomes a dash.
    """
    name = world.replace("/", "-").replace(":", "-") + (f"-{dataset}" if dataset else "")
    return (data or data_folder()) / name


class Opened(Protocol):
    """A file of a known size."""

    def pread(self, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset``, or fewer at its end. Raises ``OSError``."""


class Source(Protocol):
    """The interface of a store's location. Methods raise ``OSError`` unless stated otherwise."""

    address: str
    """The address, valid from any working directory."""
    readers: int
    """Recommended number of reading threads."""

    def name(self, *parts: str) -> str:
        """A file's full name, for messages."""

    def exists(self) -> bool:
        """Whether the location exists."""

    def read(self, *parts: str) -> bytes:
        """A whole file. ``EFBIG`` for one larger than any of ours."""

    def logs(self) -> dict[str, int | None]:
        """File names in the log folder, and their sizes where listing them tells."""

    def streams(self) -> list[str]:
        """Names of the folders in the data folder; none where they cannot be listed."""

    def has(self, *parts: str) -> bool:
        """Whether there is such a file."""

    def tail(self, log: str, offset: int, size: int | None) -> bytes:
        """A log from ``offset`` on, 64 MiB at most. ``EINVAL`` when it shrank; ``size`` is what ``logs`` said."""

    def open(self, size: int, *parts: str) -> Opened:
        """A file, which must have this size: else ``ValueError`` that tells, now or when it is first read."""


def locate(place: Path | str) -> Source:
    """The source at a path or URL. Raises ``TinyJEPAError`` for a URL of no known kind, or without obstore."""
    if isinstance(place, Path) or not URL.match(place):
        return Local(Path(place))
    return Remote(place)


class Local:
    """A directory."""

    readers = LOCAL_READERS

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = path.absolute()  # an environment in this process may change the working directory
        self.address = str(path.resolve())

    def name(self, *parts: str) -> str:
        return str(self.path.joinpath(*parts))

    def exists(self) -> bool:
        return self._root.exists()

    def read(self, *parts: str) -> bytes:
        with Opening(self._root.joinpath(*parts), self._root) as fd:
            if os.fstat(fd).st_size > DOCUMENT_BYTES:
                raise OSError(errno.EFBIG, "it is larger than any of ours")
            return os.pread(fd, DOCUMENT_BYTES, 0)

    def logs(self) -> dict[str, int | None]:
        return {entry.name: None for entry in os.scandir(self._root / layout.LOG)}

    def streams(self) -> list[str]:
        try:
            return [entry.name for entry in os.scandir(self._root / layout.DATA) if entry.is_dir(follow_symlinks=False)]
        except OSError:
            return []

    def has(self, *parts: str) -> bool:
        return self._root.joinpath(*parts).is_file()

    def tail(self, log: str, offset: int, size: int | None) -> bytes:
        """Reopens the log, so that a network file system asks its server for the current size."""
        parts = []
        with Opening(self._root / layout.LOG / log, self._root) as fd:
            size = os.fstat(fd).st_size
            if size < offset:
                raise OSError(errno.EINVAL, f"it shrank from {offset} to {size} bytes")
            size = min(size, offset + TAIL_BYTES)
            while offset < size and (part := os.pread(fd, min(size - offset, 1 << 24), offset)):
                parts.append(part)
                offset += len(part)
        return b"".join(parts)

    def open(self, size: int, *parts: str) -> Opened:
        return _LocalFile(self._root.joinpath(*parts), size, self._root)


def open_inside(path: Path, root: Path) -> int:
    """A file descriptor for reading a plain file of the store at ``root``.

    Raises ``OSError`` (``ELOOP``) where a symbolic link leads out of the store, or stands for the file itself.
    """
    _check_folder(path.parent.absolute(), root.absolute())
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno == errno.ELOOP:
            error.strerror = "it is a symbolic link"
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, "it is no plain file", str(path))
    return fd


@functools.lru_cache(maxsize=16_384)
def _check_folder(folder: Path, root: Path) -> None:
    if not folder.resolve().is_relative_to(root.resolve()):
        raise OSError(errno.ELOOP, "a symbolic link leads out of the store", str(folder))


class Opening:
    """``open_inside`` for the length of a block."""

    def __init__(self, path: Path, root: Path) -> None:
        self._fd = open_inside(path, root)

    def __enter__(self) -> int:
        return self._fd

    def __exit__(self, *error: object) -> None:
        os.close(self._fd)


class _LocalFile:
    """It is closed when the last thread that reads it lets go of it."""

    def __init__(self, path: Path, size: int, root: Path) -> None:
        self._fd = open_inside(path, root)
        found = os.fstat(self._fd).st_size
        if found != size:
            raise ValueError(f"the file has {found} bytes, {size} were committed")

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def pread(self, offset: int, size: int) -> bytes:
        data = os.pread(self._fd, size, offset)
        while 0 < len(data) < size and (more := os.pread(self._fd, size - len(data), offset + len(data))):
            data += more
        return data


class Remote:
    """Object storage, or a web server that answers range requests. Thread-safe; requests run in parallel.

    Credentials, region and endpoint come from the environment (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL``, ...), as
    obstore documents. A web server must list ``log/`` as a page of links, or by WebDAV.
    """

    readers = REMOTE_READERS

    def __init__(self, url: str) -> None:
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import HTTPStore, from_url
        except ModuleNotFoundError:
            raise TinyJEPAError(
                f"{url} needs obstore, which is not installed: pip install 'tinyjepa[remote]'"
            ) from None
        self.address = url.rstrip("/")
        self._obstore: Any = obstore
        self._failed = (BaseError, FileNotFoundError)  # obstore raises the builtin one for what is not there
        plain = any(os.environ.get(name, "").startswith("http://") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
        try:
            self._store: Any = from_url(
                self.address,
                client_options={"allow_http": plain or url.startswith("http://"), "connect_timeout": "5s"},
                retry_config={"max_retries": 3, "retry_timeout": timedelta(seconds=20)},
            )
        except (BaseError, ValueError) as error:
            raise TinyJEPAError(f"{url} is no address of a store ({_first_line(error)}): check it") from error
        self._lists_pages = isinstance(self._store, HTTPStore)

    def name(self, *parts: str) -> str:
        return "/".join((self.address, *parts))

    def exists(self) -> bool:
        try:
            self._get(layout.DATASET)
        except FileNotFoundError:
            return False
        return True

    def read(self, *parts: str) -> bytes:
        return self._get(*parts)[0]

    def logs(self) -> dict[str, int | None]:
        if self._lists_pages:
            page = self.read(layout.LOG + "/").decode("utf-8", "replace")
            return {PurePosixPath(link).name: None for link in re.findall(r'href="([^"?#]+)"', page)}
        try:
            found = [entry for entries in self._store.list(layout.LOG) for entry in entries]
        except self._failed as error:
            raise self._wrong(error, layout.LOG) from error
        return {PurePosixPath(entry["path"]).name: entry["size"] for entry in found}

    def streams(self) -> list[str]:
        """Of a web server, none: few list folders."""
        if self._lists_pages:
            return []
        try:
            found = self._obstore.list_with_delimiter(self._store, layout.DATA)
        except self._failed as error:
            raise self._wrong(error, layout.DATA) from error
        return [PurePosixPath(prefix).name for prefix in found["common_prefixes"]]

    def has(self, *parts: str) -> bool:
        try:
            self._obstore.head(self._store, "/".join(parts))
        except self._failed as error:
            if isinstance(self._wrong(error, *parts), FileNotFoundError):
                return False
            raise self._wrong(error, *parts) from error
        return True

    def tail(self, log: str, offset: int, size: int | None) -> bytes:
        if size is None:
            try:
                size = int(self._obstore.head(self._store, f"{layout.LOG}/{log}")["size"])
            except self._failed as error:
                raise self._wrong(error, layout.LOG, log) from error
        if size < offset:
            raise OSError(errno.EINVAL, f"it shrank from {offset} to {size} bytes")
        size = min(size, offset + TAIL_BYTES)
        return self._get(layout.LOG, log, span=(offset, size))[0] if size > offset else b""

    def open(self, size: int, *parts: str) -> Opened:
        return _RemoteFile(self, size, parts)

    def _get(self, *parts: str, span: tuple[int, int] | None = None) -> tuple[bytes, int]:
        """Bytes of an object, and its size."""
        try:
            found = self._obstore.get(self._store, "/".join(parts), options={"range": span} if span else None)
            return bytes(found.bytes()), int(found.meta["size"])
        except self._failed as error:
            raise self._wrong(error, *parts) from error

    def _wrong(self, error: Exception, *parts: str) -> Exception:
        """The error to raise: ``FileNotFoundError``, or one line for what a user can mend."""
        text, reason = str(error), _first_line(error)
        if "NoSuchBucket" in text:
            return StoreError(f"{self.address}: there is no such bucket: check the URL")
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(errno.ENOENT, "not found", self.name(*parts))
        if "416 Range Not Satisfiable" in text:
            return ValueError("the file is shorter than what was committed")
        if "Range request not supported" in text:
            return StoreError(
                f"{self.address}: the web server ignores byte ranges: serve it with another, such as nginx"
            )
        if METADATA_SERVICE in text:  # where obstore looks for credentials when the environment has none
            return StoreError(f"{self.address}: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
        if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError"):
            return StoreError(f"{self.address}: access denied ({reason}): check the credentials")
        return UnreachableError(
            f"{self.name(*parts)}: cannot be reached ({reason}): check the URL, endpoint and network"
        )


class _RemoteFile:
    """Nothing is asked until it is read: every answer tells the size."""

    def __init__(self, source: Remote, size: int, parts: tuple[str, ...]) -> None:
        self._source, self._size, self._parts = source, size, parts

    def pread(self, offset: int, size: int) -> bytes:
        data, found = self._source._get(*self._parts, span=(offset, offset + size))
        if found != self._size:
            raise ValueError(f"the file has {found} bytes, {self._size} were committed")
        return data


def _first_line(error: BaseException) -> str:
    """The first line of an obstore error; the rest is internal."""
    text = str(error).split("Debug source")[0].split("<?xml")[0]
    return " ".join(text.split())[:300].rstrip(".: ")
