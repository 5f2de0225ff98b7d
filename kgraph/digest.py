"""Digests of what is kept on disk: BLAKE2b of 32 bytes, with a key where they prove who wrote it.

`hashlib` and `hmac` load OpenSSL, also for what Python has itself: 3 ms in each process that starts with a
cached program.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

# Compares two digests in a time that does not tell where they differ.
same_digest: Callable[[bytes, bytes], bool]
try:
    from _blake2 import blake2b
    from _operator import _compare_digest

    same_digest = _compare_digest
except ImportError:  # both are details of CPython
    from hashlib import blake2b
    from hmac import compare_digest

    same_digest = compare_digest

DIGEST_BYTES = 32


def digest(parts: Iterable[bytes], key: bytes = b"") -> bytes:
    """Digest of the parts one after another, `DIGEST_BYTES` long; with a key of at most 64 bytes only its owner can
    make it.

    >>> digest([b"ab", b"c"]) == digest([b"abc"]), digest([b"abc"], key=b"k") == digest([b"abc"])
    (True, False)
    """
    state = blake2b(digest_size=DIGEST_BYTES, key=key)
    for part in parts:
        state.update(part)
    return state.digest()
