"""Compiled code on disk: object files, and the data of whole programs.

Whoever can change an entry could run code as the user, so an entry counts only with a proof that this user's kgraph
wrote it::

    <folder>/key            0600  32 random bytes, made once
    <folder>/objects/       0700
        <digest>            0600  magic, keyed BLAKE2b of magic + name + content, content

Folders and files that belong to somebody else, that others can write, or that are links are not used. An entry that
fails a check is deleted and compiled again.
"""

from __future__ import annotations

import functools
import os
import stat
import threading
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kgraph.digest import DIGEST_BYTES, digest, same_digest
from kgraph.errors import KgraphWarning
from kgraph.ir.location import user_location

MAGIC = b"kgraph object 2\n"
_SECRET_BYTES = 32


class ObjectCache:
    """Compiled code by key, in a folder that any number of processes may share.

    No method raises: without a usable folder the user gets one warning, and nothing is kept.

    Args:
        folder: made if it does not exist; must belong to this user.
        limit: bytes of all entries together; the entries used least recently go first.
    """

    def __init__(self, folder: Path, limit: int = 256 << 20) -> None:
        self._folder = folder
        self._objects = folder / "objects"
        self._limit = limit
        self._secret: bytes | None = None
        self._closed = False
        self._lock = threading.Lock()

    def get(self, key: str) -> bytes | None:
        """What is stored under `key` (64 hexadecimal digits); None if there is none that can be trusted."""
        secret = self._opened()
        if secret is None:
            return None
        path = self._objects / key
        try:
            entry = _read_private(path, self._limit)
            head = len(MAGIC) + DIGEST_BYTES
            code = entry[head:]
            if not same_digest(entry[:head], MAGIC + _proof(secret, key, code)):
                raise PermissionError("the proof does not fit")
        except FileNotFoundError:
            return None
        except OSError as error:
            _note("cache entry %s deleted: %s", path, error)
            _remove(path)
            return None
        with suppress(OSError):
            os.utime(path)
        return code

    def put(self, key: str, code: bytes) -> None:
        """Store compiled code under `key`; another process sees all of it or nothing."""
        secret = self._opened()
        entry = MAGIC + _proof(secret, key, code) + code if secret else b""
        if not entry or len(entry) > self._limit:
            return
        try:
            _write_private(self._objects, entry, lambda new: os.replace(new, self._objects / key))
            self._trim()
        except FileNotFoundError:
            _note("cache entry %s was deleted by another process while it was written", key)
        except OSError as error:
            self._close(error)

    def _opened(self) -> bytes | None:
        """The secret of this folder, after the folder was checked; None if the folder cannot be used."""
        with self._lock:
            if self._secret is None and not self._closed:
                try:
                    _make_private(self._folder, forbidden=0o022)
                    _make_private(self._objects, forbidden=0o077)
                    self._secret = _secret_of(self._folder)
                except OSError as error:
                    self._warn(error)
            return None if self._closed else self._secret

    def _close(self, error: OSError) -> None:
        with self._lock:
            if not self._closed:
                self._warn(error)

    def _warn(self, error: OSError) -> None:
        self._closed = True
        place = user_location()
        text = (
            f"compiled code is not kept in {self._folder}: {error.strerror or error}. "
            "Set KGRAPH_CACHE to a folder of your own, or to off"
        )
        warnings.warn_explicit(text, KgraphWarning, place.file or "kgraph", place.line)

    def _trim(self) -> None:
        """Delete the entries used least recently until the rest keeps the limit."""
        found = []
        with os.scandir(self._objects) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):
                    info = entry.stat(follow_symlinks=False)
                    found.append((info.st_mtime_ns, info.st_size, entry.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self._limit:
                return
            _remove(Path(path))
            total -= size


@functools.cache
def open_cache(setting: str) -> ObjectCache | None:
    """The cache that the setting `cache` names: a folder, "off", or "" for the folder `kgraph` in the user's cache."""
    if setting == "off" or os.name != "posix":  # owners and rights are checked as POSIX has them
        return None
    if setting:
        return ObjectCache(Path(setting).absolute())
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if os.path.isabs(home) else Path(os.path.expanduser("~")) / ".cache"
    return ObjectCache(base / "kgraph")


def _note(text: str, *values: object) -> None:
    """Tell those who debug what hardly ever happens, and what no warning is due for."""
    import logging

    logging.getLogger("kgraph.cache").debug(text, *values)


def _proof(secret: bytes, key: str, code: bytes) -> bytes:
    # The name is part of it: an entry under the name of another one is not valid.
    return digest([MAGIC, key.encode(), code], key=secret)


def _make_private(folder: Path, forbidden: int) -> None:
    """Make `folder`; OSError if what is there is not a folder of this user's, or has one of the forbidden rights."""
    if not folder.is_absolute():
        raise PermissionError("there is no home folder")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(folder.lstat(), stat.S_IFDIR, forbidden)


def _check_owner(info: os.stat_result, kind: int, forbidden: int) -> None:
    if stat.S_IFMT(info.st_mode) != kind:
        raise PermissionError("it is a link, or of another kind")
    if info.st_uid != os.geteuid():
        raise PermissionError("it belongs to somebody else")
    if info.st_mode & forbidden:
        raise PermissionError(f"others have rights to it, mode {stat.S_IMODE(info.st_mode):o}")


def _secret_of(folder: Path) -> bytes:
    """The secret kept in the folder; a new one if there is none, or one that others may have seen."""
    path = folder / "key"
    for _ in range(2):
        with suppress(OSError):
            secret = _read_private(path, _SECRET_BYTES)
            if len(secret) == _SECRET_BYTES:
                return secret
            raise PermissionError("its length is wrong")
        if path.is_symlink() or path.exists():
            path.unlink(missing_ok=True)
        # A link is made only if no other process was first.
        with suppress(FileExistsError):
            _write_private(folder, os.urandom(_SECRET_BYTES), lambda new: os.link(new, path))
    return _read_private(path, _SECRET_BYTES)


def _read_private(path: Path, limit: int) -> bytes:
    """A file that only this user can read or write; OSError if it is anything else."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        info = os.fstat(file.fileno())
        _check_owner(info, stat.S_IFREG, 0o077)
        if info.st_size > limit:
            raise PermissionError("it is too large")
        return file.read(limit)


def _write_private(folder: Path, data: bytes, publish: Callable[[Path], None]) -> None:
    """Write a new file that only this user can read, and have `publish` give it its name."""
    new = folder / f".{os.getpid()}-{os.urandom(8).hex()}"
    try:
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(data)
        publish(new)
    finally:
        _remove(new)


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()
