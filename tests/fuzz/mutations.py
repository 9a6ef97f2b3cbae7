"""Ways to damage bytes, texts and nested values."""
import struct
import zlib

DAMAGE = dict(on=True)
"""dict: Whether anything is changed; off to see that whole files are read."""
INTERESTING = (0, 1, 2, 7, 0x10, 0x7f, 0x80, 0xfe, 0xff)
WORDS = (0, 1, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
         0xffffffff)
HEADER = 96
"""int: Bytes at the start that are hit as often as all others."""


def position(rng, size):
    """A place in the content; half of all in the header."""
    end = size if rng.random() < 0.5 else min(size, HEADER)
    return int(rng.integers(max(end, 1)))


def _size(rng, most=64):
    return int(rng.integers(1, most + 1))


def _word(rng, rest):
    """Two or four bytes, as sizes and offsets have, of either order."""
    kind = str(rng.choice(['<H', '>H', '<I', '>I']))
    width = struct.calcsize(kind)
    return width, struct.pack(kind, int(rng.choice(WORDS)) & (256**width - 1))


def _repeated(rng, rest):
    part = rest[:_size(rng, 256)]
    return 0, part * _size(rng, 8)


def _zeros(rng, rest):
    size = min(_size(rng, 256), len(rest))
    return size, bytes(size)


SPLICES = (
    lambda rng, rest: (1, bytes([rest[0] ^ 1 << int(rng.integers(8))])),
    lambda rng, rest: (1, bytes([int(rng.choice(INTERESTING))])),
    _word,
    lambda rng, rest: (len(rest), b''),  # cut off
    lambda rng, rest: (_size(rng), b''),  # removed
    lambda rng, rest: (0, rng.bytes(_size(rng))),  # inserted
    lambda rng, rest: (len(rest), rng.bytes(_size(rng, 4096))),
    _repeated,
    _zeros,
)
"""tuple[callable]: How many bytes go at a place, and what comes instead; all
take a generator and the content from there on."""
PATHS = ('../../etc/passwd', '/etc/passwd', '..', '.', '/', 'eye_0/../eye_1',
         'C:\\eye_0', 'eye_0\0', '\x1b[2Jeye_0', '~', '%s%n', 'eye_0' * 2000,
         '\u202eeye_0', '\ufeffeye_0', 'CON', '-rf', '$(id)', 'eye_0\x0beye_1',
         '')


def mutate(rng, data):
    """Damage bytes at one to six places."""
    if not DAMAGE['on']:
        return data
    for _ in range(int(rng.integers(1, 7))):
        at = position(rng, len(data))
        splice = SPLICES[int(rng.integers(len(SPLICES)))]
        size, new = splice(rng, data[at:] or b'\0')
        data = data[:at] + new + data[at + size:]
    return data


def mutate_lines(rng, text):
    """Damage a text of lines: paths in it, or its bytes."""
    if not DAMAGE['on']:
        return text.encode()
    if rng.random() < 0.3:
        return mutate(rng, text.encode())
    lines = text.split('\n')
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(len(lines)))
        choice = int(rng.integers(5))
        if choice == 0:
            lines[at] = PATHS[int(rng.integers(len(PATHS)))]
        elif choice == 1:
            lines.insert(at, PATHS[int(rng.integers(len(PATHS)))])
        elif choice == 2:
            lines.insert(at, lines[int(rng.integers(len(lines)))])
        elif choice == 3:
            lines[at] = lines[at][::-1]
        else:
            lines = lines[:at] + lines[at + 1:] or ['']
    return '\r\n'.join(lines).encode('utf-8', 'surrogatepass')


def repair_png(data):
    """Make the checksums of a PNG's chunks right, so that they are read."""
    if data[:4] != b'\x89PNG':
        return data
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        size, = struct.unpack('>I', out[at:at + 4])
        end = at + 8 + size
        if end + 4 > len(out):
            break
        out[end:end + 4] = struct.pack('>I', zlib.crc32(out[at + 4:end]))
        at = end + 4
    return bytes(out)


def mutate_image(rng, data):
    """Damage an image; a PNG's checksums are made right half of the time."""
    data = mutate(rng, data)
    return repair_png(data) if rng.random() < 0.5 else data


VALUES = (None, True, -1, 0, 10**30, 1e308, float('nan'), '', 'x' * 10000, [],
          {}, [[]], {
              'a': {}
          }, '../..', [None], [1, 'a', {}])


def mutate_value(rng, value):
    """Damage nested plain values at one place."""
    if not DAMAGE['on']:
        return value
    if rng.random() < 0.3 or not isinstance(value, (dict, list)) or not value:
        return VALUES[int(rng.integers(len(VALUES)))]
    if isinstance(value, list):
        out = list(value)
        at = int(rng.integers(len(out)))
        if rng.random() < 0.3:
            del out[at]
        else:
            out[at] = mutate_value(rng, out[at])
        return out
    out = dict(value)
    key = sorted(out, key=str)[int(rng.integers(len(out)))]
    choice = rng.random()
    if choice < 0.2:
        del out[key]
    elif choice < 0.3:
        out['no such key'] = out.pop(key)
    else:
        out[key] = mutate_value(rng, out[key])
    return out
