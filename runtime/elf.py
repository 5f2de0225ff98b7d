"""Object files into memory, for x86-64 Linux: the little that a linker does with position-independent code.

To load LLVM for this would take longer than all else that a program from the disk needs, and 50 MB of memory.
Sections with the same rights stand together on pages of their own: code and a stub for each foreign symbol; constants;
data.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from kgraph.errors import InternalError

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_RELOCATION = struct.Struct("<QQq")

_IDENT = b"\x7fELF\x02\x01\x01"  # 64 bits, little-endian
_X86_64, _RELOCATABLE = 62, 1
_SYMTAB, _RELA, _NOBITS = 2, 4, 8
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_UNDEFINED, _LOCAL = 0, 0

# Kinds of relocation, as the x86-64 psABI numbers them: symbol + addend; the same less the place; address of the word
# that holds the symbol's address, + addend less the place.
_ABS64 = 1
_PC32 = (2, 4)
_GOT = (9, 41, 42)

# jmp *2(%rip), two bytes that nobody runs; then the address, which is also where code reads it.
_STUB = b"\xff\x25\x02\x00\x00\x00\xcc\xcc"
_STUB_BYTES = 16

_MOST_BYTES = 1 << 30  # of a section: places are 32 bits apart

# Rights of the parts of memory, and the flags of the sections in each.
_PARTS = (
    (mmap.PROT_READ | mmap.PROT_EXEC, _ALLOC | _EXECUTE),
    (mmap.PROT_READ, _ALLOC),
    (mmap.PROT_READ | mmap.PROT_WRITE, _ALLOC | _WRITE),
)


class Region:
    """Code and data in memory, as long as this object lives.

    Attributes:
        symbols: address of each symbol that others may use.
    """

    def __init__(self, size: int) -> None:
        self._memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
        self.symbols: dict[str, int] = {}

    def fill(self, image: bytearray, rights: list[tuple[int, int, int]]) -> None:
        """Copy the content in, and give whole pages (start, end) the rights mmap.PROT_*."""
        self._memory[:] = bytes(image)
        for start, end, wanted in rights:
            if start < end and _c_library().mprotect(
                ctypes.c_void_p(self.address + start), ctypes.c_size_t(end - start), wanted
            ):
                raise InternalError("object code", received="no right to run code that was made by this process")


@functools.cache
def _c_library() -> Any:
    return ctypes.CDLL(None)


def link(code: bytes, others: Mapping[str, int]) -> Region:
    """Put an object file into memory.

    Args:
        code: the file.
        others: addresses of symbols that it may use besides those of the C library.

    Raises:
        InternalError: it is no object file of this kind, or uses a symbol that nobody has.
    """
    try:
        return _linked(code, others)
    except (struct.error, IndexError, ValueError) as error:
        raise InternalError("object code cannot be loaded", received=f"{len(code)} bytes: {error}") from error


class _Section(NamedTuple):
    """What matters of a section."""

    kind: int
    flags: int
    content: bytes
    link: int
    info: int
    align: int


class _Symbol(NamedTuple):
    """A symbol of this file; `section` is _UNDEFINED if it is foreign."""

    name: str
    binding: int
    section: int
    value: int


def _linked(code: bytes, others: Mapping[str, int]) -> Region:
    sections = _sections(code)
    symbols = _symbols(sections)
    foreign = {n for n, symbol in enumerate(symbols) if symbol.section == _UNDEFINED and symbol.name}
    image, places, stubs, rights = _laid_out(sections, sorted(foreign | _read_by_code(sections)))
    region = Region(len(image))
    targets: list[tuple[int | None, int | None]] = []
    for n, symbol in enumerate(symbols):
        place = places.get(symbol.section)
        address = None if place is None else region.address + place + symbol.value
        if n in foreign:
            address = others.get(symbol.name) or _of_c_library(symbol.name)
        elif address is not None and symbol.binding != _LOCAL:
            region.symbols[symbol.name] = address
        if n in stubs:
            struct.pack_into("<8sQ", image, stubs[n], _STUB, address or 0)
        targets.append((address, stubs.get(n)))
    for section in sections:
        if section.kind == _RELA and section.info in places:
            _relocate(image, region.address, places[section.info], section.content, targets)
    region.fill(image, rights)
    return region


def _read_by_code(sections: list[_Section]) -> set[int]:
    """Numbers of the symbols whose addresses code reads from memory."""
    entries = (entry for s in sections if s.kind == _RELA for entry in _RELOCATION.iter_unpack(s.content))
    return {info >> 32 for _, info, _ in entries if info & 0xFFFFFFFF in _GOT}


def _sections(code: bytes) -> list[_Section]:
    header = _HEADER.unpack_from(code)
    start, size, count = header[6], header[11], header[12]
    if not header[0].startswith(_IDENT) or header[1:3] != (_RELOCATABLE, _X86_64) or size != _SECTION.size:
        raise ValueError("not relocatable x86-64 code")
    found = []
    for n in range(count):
        _, kind, flags, _, offset, nbytes, other, info, align, _ = _SECTION.unpack_from(code, start + n * size)
        if nbytes > _MOST_BYTES or align > mmap.PAGESIZE:
            raise ValueError("a section of a strange size")
        content = bytes(nbytes) if kind == _NOBITS else code[offset : offset + nbytes]
        if len(content) != nbytes:
            raise ValueError("it ends inside a section")
        found.append(_Section(kind, flags, content, other, info, max(align, 1)))
    return found


def _symbols(sections: list[_Section]) -> list[_Symbol]:
    table = next((s for s in sections if s.kind == _SYMTAB), None)
    if table is None:
        raise ValueError("it has no symbols")
    names = sections[table.link].content
    return [
        _Symbol(names[name : names.index(b"\0", name)].decode(), info >> 4, section, value)
        for name, info, _, section, value, _ in _SYMBOL.iter_unpack(table.content)
    ]


def _laid_out(
    sections: list[_Section], stubbed: list[int]
) -> tuple[bytearray, dict[int, int], dict[int, int], list[tuple[int, int, int]]]:
    """The image with no address filled in; the place of each section in it, and of the stub of each symbol of
    `stubbed`; rights of its parts."""
    image, places, stubs, rights = bytearray(), dict[int, int](), dict[int, int](), []
    for wanted, flags in _PARTS:
        start = len(image)
        for n, section in enumerate(sections):
            if section.flags & (_ALLOC | _EXECUTE | _WRITE) == flags:
                image += bytes(-len(image) % section.align)
                places[n] = len(image)
                image += section.content
        if flags & _EXECUTE:
            image += bytes(-len(image) % _STUB_BYTES)
            for symbol in stubbed:
                stubs[symbol] = len(image)
                image += bytes(_STUB_BYTES)
        image += bytes(-len(image) % mmap.PAGESIZE)
        rights.append((start, len(image), wanted))
    return image, places, stubs, rights


def _of_c_library(name: str) -> int:
    """Address of a function of the C library."""
    function = getattr(_c_library(), name, None)
    if function is None:
        raise ValueError(f"nobody has the symbol {name}")
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _relocate(
    image: bytearray, base: int, start: int, table: bytes, targets: list[tuple[int | None, int | None]]
) -> None:
    """Fill the addresses into the section that starts at `start`; `targets` has address and stub of each symbol."""
    for offset, info, addend in _RELOCATION.iter_unpack(table):
        kind, place = info & 0xFFFFFFFF, start + offset
        address, stub = targets[info >> 32]
        if kind == _ABS64 and address is not None:
            struct.pack_into("<Q", image, place, address + addend)
        elif kind in _GOT and stub is not None:
            struct.pack_into("<i", image, place, stub + len(_STUB) + addend - place)
        elif kind in _PC32 and address is not None:
            near = address - base  # what stands elsewhere may be too far away
            target = near if stub is None or 0 <= near < len(image) else stub
            struct.pack_into("<i", image, place, target + addend - place)
        else:
            raise ValueError(f"a relocation of kind {kind}")
