"""Hash functions of bytes: FarmHash (Fingerprint64) and SipHash-2-4, as TensorFlow and so Keras use them.

Sources: Pike, FarmHash (2014); Aumasson and Bernstein, SipHash (2012).
"""

from __future__ import annotations

_K0, _K1, _K2 = 0xC3A5C85C97CB3127, 0xB492B66FBE98F273, 0x9AE16A3B2F90404F
_MASK = (1 << 64) - 1


def _fetch(data: bytes, at: int, size: int = 8) -> int:
    return int.from_bytes(data[at : at + size], "little")


def _rotate(x: int, right: int) -> int:
    x &= _MASK
    return (x >> right | x << (64 - right)) & _MASK


def _mixed(x: int) -> int:
    x &= _MASK
    return x ^ x >> 47


def _pair(u: int, v: int, factor: int) -> int:
    a = _mixed((u ^ v) * factor)
    return _mixed((v ^ a) * factor) * factor & _MASK


def farmhash64(data: bytes) -> int:
    """The 64-bit fingerprint of bytes.

    >>> hex(farmhash64(b"hello"))
    '0xb48be5a931380ce8'
    """
    size = len(data)
    factor = _K2 + 2 * size
    if size > 64:
        return _long(data)
    if size > 32:
        return _up_to_64(data, factor)
    if size > 16:
        a, b = _fetch(data, 0) * _K1, _fetch(data, 8)
        c, d = _fetch(data, size - 8) * factor, _fetch(data, size - 16) * _K2
        u = _rotate(a + b, 43) + _rotate(c, 30) + d
        return _pair(u & _MASK, (a + _rotate(b + _K2, 18) + c) & _MASK, factor)
    if size >= 8:
        a, b = _fetch(data, 0) + _K2, _fetch(data, size - 8)
        u = _rotate(b, 37) * factor + a
        return _pair(u & _MASK, (_rotate(a, 25) + b) * factor & _MASK, factor)
    if size >= 4:
        return _pair(size + (_fetch(data, 0, 4) << 3), _fetch(data, size - 4, 4), factor)
    if size:
        y, z = data[0] + (data[size >> 1] << 8), size + (data[-1] << 2)
        return _mixed(y * _K2 ^ z * _K0) * _K2 & _MASK
    return _K2


def _up_to_64(data: bytes, factor: int) -> int:
    size = len(data)
    a, b = _fetch(data, 0) * _K2, _fetch(data, 8)
    c, d = _fetch(data, size - 8) * factor, _fetch(data, size - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d & _MASK
    z = _pair(y, (a + _rotate(b + _K2, 18) + c) & _MASK, factor)
    e, f = _fetch(data, 16) * factor, _fetch(data, 24)
    g, h = (y + _fetch(data, size - 32)) * factor, (z + _fetch(data, size - 24)) * factor
    u = _rotate(e + f, 43) + _rotate(g, 30) + h
    return _pair(u & _MASK, (e + _rotate(f + a, 18) + g) & _MASK, factor)


def _weak(data: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_fetch(data, at + 8 * n) for n in range(4))
    a += w
    b = _rotate(b + a + z, 21)
    start = a
    a += x + y
    return (a + z) & _MASK, (b + _rotate(a, 44) + start) & _MASK


class _State:
    """The 56 bytes that are stirred with each 64 bytes of a long text."""

    def __init__(self, first: int) -> None:
        self.y = (81 * _K1 + 113) & _MASK
        self.z = _mixed(self.y * _K2 + 113) * _K2 & _MASK
        self.x = (81 * _K2 + first) & _MASK
        self.v, self.w = (0, 0), (0, 0)

    def stir(self, data: bytes, at: int, factor: int, ninth: int) -> None:
        """Take in the 64 bytes from `at` on."""
        x = _rotate(self.x + self.y + self.v[0] + _fetch(data, at + 8), 37) * factor & _MASK
        y = _rotate(self.y + self.v[1] + _fetch(data, at + 48), 42) * factor & _MASK
        x ^= self.w[1] * ninth & _MASK
        self.y = (y + self.v[0] * ninth + _fetch(data, at + 40)) & _MASK
        z = _rotate(self.z + self.w[0], 33) * factor & _MASK
        self.v = _weak(data, at, self.v[1] * factor, x + self.w[0])
        self.w = _weak(data, at + 32, z + self.w[1], self.y + _fetch(data, at + 16))
        self.x, self.z = z, x


def _long(data: bytes) -> int:
    size, state = len(data), _State(_fetch(data, 0))
    for at in range(0, (size - 1) // 64 * 64, 64):
        state.stir(data, at, _K1, 1)
    factor = _K1 + ((state.z & 0xFF) << 1)
    (v0, v1), (w0, w1) = state.v, state.w
    w0 += size - 1 & 63
    v0 += w0
    state.v, state.w = (v0 & _MASK, v1), ((w0 + v0) & _MASK, w1)
    state.stir(data, size - 64, factor, 9)
    u = _pair(state.v[0], state.w[0], factor) + _mixed(state.y) * _K0 + state.z
    return _pair(u & _MASK, (_pair(state.v[1], state.w[1], factor) + state.x) & _MASK, factor)


def siphash64(data: bytes, key: tuple[int, int]) -> int:
    """The 64-bit keyed hash of bytes; `key` is two 64-bit words.

    >>> hex(siphash64(bytes(range(15)), (0x0706050403020100, 0x0F0E0D0C0B0A0908)))
    '0xa129ca6149be45e5'
    """
    k0, k1 = (k & _MASK for k in key)
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    padded = data + b"\0" * (7 - len(data) % 8) + bytes([len(data) & 255])
    for at in range(0, len(padded), 8):
        word = _fetch(padded, at)
        v[3] ^= word
        _rounds(v, 2)
        v[0] ^= word
    v[2] ^= 255
    _rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        v[0], v[2] = (v[0] + v[1]) & _MASK, (v[2] + v[3]) & _MASK
        v[1], v[3] = _rotate(v[1], 51) ^ v[0], _rotate(v[3], 48) ^ v[2]
        v[0] = _rotate(v[0], 32)
        v[2], v[0] = (v[2] + v[1]) & _MASK, (v[0] + v[3]) & _MASK
        v[1], v[3] = _rotate(v[1], 47) ^ v[2], _rotate(v[3], 43) ^ v[0]
        v[2] = _rotate(v[2], 32)
