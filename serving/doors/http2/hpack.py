"""HPACK, HTTP/2's header compression (RFC 7541): blocks decoded whole, and written without a table.

Pure. Our own blocks are short and mostly prepared once, so the writer uses no dynamic table; blocks of clients are decoded in full. Equal
bytes mean equal fields as long as the table is unchanged, which `generation` tells."""

from typing import Final

Field = tuple[bytes, bytes]

TABLE_BYTES: Final = 4096
"""Size of the table that clients may fill: the protocol's default, which we do not change."""
MAX_FIELDS_BYTES: Final = 64 * 1024
"""Largest list of fields, as RFC 9113 counts: names, values and 32 bytes each."""
_OVERHEAD: Final = 32

# The static table of RFC 7541, Appendix A: 1 to 61, names with their values.
_NAMED: Final = (
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
)  # fmt: skip
_NAMES: Final = (
    "accept-language accept-ranges accept access-control-allow-origin age allow authorization cache-control content-disposition "
    "content-encoding content-language content-length content-location content-range content-type cookie date etag expect expires "
    "from host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link location max-forwards "
    "proxy-authenticate proxy-authorization range referer refresh retry-after server set-cookie strict-transport-security "
    "transfer-encoding user-agent vary via www-authenticate"
)
STATIC: Final[tuple[Field, ...]] = ((b"", b""), *_NAMED, *((name.encode(), b"") for name in _NAMES.split()))
_FIRST_DYNAMIC: Final = len(STATIC)

# The code of Appendix B is canonical: it follows from its lengths, here in order of the symbol, a letter each: `A` is 5 bits,
# `Z` is 30; the last is the end of string, which never stands in one.
_LENGTHS: Final = (
    "ISXXXXXXXTZXXZXXXXXXXXZXXXXXXXXXBFFHIBDGFFDGDBBBAAABBBBBBBCDKBHFIBCCCCCCCCCCCCCCCCCCCC"
    "CCDCDIOIJBKABABABBBACCBBBABCBAABCCCCCKGJIXPRPPRRRSRSSSSSTSTTRSTSSSSQRSRSSTRQPRRSSQSRRT"
    "QRSSQQRQSRSSPRRRSRRSVVPORSRUVVVWWVTUOQVWWVWTQQVVXWWWPTPQRQQSRRUUTTVSVWVVWWWWWXWWWWWVZ"
)
_END: Final = 256


class HpackError(ValueError):
    """The bytes are not a header block, or it is too large. The connection's table is unusable afterwards."""


def _codes() -> dict[tuple[int, int], int]:
    """(length in bits, code) -> symbol."""
    codes, code, before = {}, 0, 0
    lengths = [ord(letter) - ord("A") + 5 for letter in _LENGTHS]
    for symbol in sorted(range(len(lengths)), key=lambda s: (lengths[s], s)):
        code <<= lengths[symbol] - before
        before = lengths[symbol]
        codes[before, code] = symbol
        code += 1
    return codes


_CODES: Final = _codes()
_Step = tuple[bytes, tuple[int, int]]
_steps: dict[tuple[tuple[int, int], int], _Step] = {}
"""(bits left over, next byte) -> (symbols completed, bits left over); filled as it is needed, at most 256 times 256."""


def _step(state: tuple[int, int], byte: int) -> _Step:
    length, code = state
    found = bytearray()
    for shift in range(7, -1, -1):
        length, code = length + 1, code << 1 | byte >> shift & 1
        symbol = _CODES.get((length, code))
        if symbol is not None:
            if symbol == _END:
                raise HpackError("a Huffman-coded string contains the end-of-string symbol")
            found.append(symbol)
            length = code = 0
    return bytes(found), (length, code)


def unpacked(packed: bytes) -> bytes:
    """A Huffman-coded string. Raises HpackError."""
    parts, state = [], (0, 0)
    for byte in packed:
        key = (state, byte)
        step = _steps.get(key)
        if step is None:
            step = _steps[key] = _step(state, byte)
        part, state = step
        parts.append(part)
    length, code = state
    if length > 7 or code != (1 << length) - 1:
        raise HpackError("the padding of a Huffman-coded string is not a prefix of the end-of-string symbol")
    return b"".join(parts)


class HeaderDecoder:
    """One connection's decoder. generation: goes up whenever its table changes; in between, equal blocks mean equal fields."""

    def __init__(self) -> None:
        self.generation = 0
        self._table: list[Field] = []
        self._size = 0
        self._limit = TABLE_BYTES

    def decode(self, block: bytes) -> list[Field]:
        """The fields in their order. Raises HpackError."""
        fields: list[Field] = []
        at, end, size = 0, len(block), 0
        try:
            while at < end:
                first = block[at]
                if first & 0x80:
                    index, at = (first & 0x7F, at + 1) if first != 0xFF else _number(block, at, 0x7F)
                    field = self._at(index)
                elif first & 0x40:
                    field, at = self._literal(block, at, 0x3F)
                    self._add(field)
                elif first & 0x20:
                    limit, at = _number(block, at, 0x1F)
                    if fields or limit > TABLE_BYTES:
                        raise HpackError("an update of the table's size is in the wrong place or over the limit")
                    self._limit = limit
                    self.generation += 1
                    self._evict()
                    continue
                else:
                    field, at = self._literal(block, at, 0x0F)
                size += len(field[0]) + len(field[1]) + _OVERHEAD
                if size > MAX_FIELDS_BYTES:
                    raise HpackError(f"the request's metadata is over {MAX_FIELDS_BYTES} bytes")
                fields.append(field)
        except IndexError:
            raise HpackError("the block ends within a field") from None
        return fields

    def _at(self, index: int) -> Field:
        if 0 < index < _FIRST_DYNAMIC:
            return STATIC[index]
        if index == 0 or index - _FIRST_DYNAMIC >= len(self._table):
            raise HpackError(f"no field has index {index}")
        return self._table[index - _FIRST_DYNAMIC]

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Field, int]:
        index, at = _number(block, at, mask)
        if index:
            name = self._at(index)[0]
        else:
            name, at = _string(block, at)
        value, at = _string(block, at)
        return (name, value), at

    def _add(self, field: Field) -> None:
        self.generation += 1
        self._table.insert(0, field)
        self._size += len(field[0]) + len(field[1]) + _OVERHEAD
        self._evict()

    def _evict(self) -> None:
        while self._size > self._limit:
            name, value = self._table.pop()
            self._size -= len(name) + len(value) + _OVERHEAD
            self.generation += 1


def _number(block: bytes, at: int, mask: int) -> tuple[int, int]:
    number = block[at] & mask
    at += 1
    if number < mask:
        return number, at
    for shift in range(0, 28, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if not byte & 0x80:
            return number, at
    raise HpackError("a number is too large")


def _string(block: bytes, at: int) -> tuple[bytes, int]:
    is_packed = block[at] & 0x80
    length, at = _number(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise HpackError("a string is longer than its block")
    text = block[at:end]
    return (unpacked(text) if is_packed else text), end


def encode(fields: list[Field] | tuple[Field, ...]) -> bytes:
    """A block with these fields that does not change the other side's table."""
    return b"".join([_written(name, value) for name, value in fields])


def _written(name: bytes, value: bytes) -> bytes:
    if (name, value) in _KNOWN:
        return bytes([0x80 | _KNOWN[name, value]])
    return b"".join((b"\0", _length(len(name)), name, _length(len(value)), value))


def _length(number: int) -> bytes:
    if number < 0x7F:
        return bytes([number])
    number -= 0x7F
    parts = bytearray([0x7F])
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


_KNOWN: Final = {field: index for index, field in enumerate(STATIC) if field[1]}
