"""Ways to damage bytes, texts, images, nested values and tensors."""
import operator
import re
import struct
import zlib
from collections import OrderedDict
from copy import deepcopy
from functools import reduce

import torch

DAMAGE = dict(on=True)
"""dict: Whether anything is changed; off to see that whole files are read."""
WORDS = (0, 1, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000,
         0xffffffff)
HEADER = 96  # bytes at the start that are hit as often as all others
PATHS = ('../../etc/passwd', '/etc/passwd', '..', '.', '/', 'eye_0/../eye_1',
         'C:\\eye_0', 'eye_0\0', '\x1b[2Jeye_0', '~', '%s%n', 'eye_0' * 2000,
         '\u202eeye_0', '\ufeffeye_0', 'CON', '-rf', '$(id)', 'eye_0\x0beye_1',
         '')
ODD = (None, True, False, 0, 1, -1, 2, 3, 0.5, -0.5, 1e9, 10**30, 1e308,
       float('nan'), float('inf'), '', 'x', 'x' * 10000, 'whole', 'auto',
       'fov', [], {}, (), [[]], [None], [0], [1, 2, 3], (3, ), (64, 64),
       'a.b', '../..', {'a': {}}, {'type': 'x'}, {'type': None}, [{}], b'x',
       range(3), 'dict(type=1)')  # yapf: disable
NUMBERS = ('7', '999999999', '9' * 5000, '-1', '')
DTYPES = torch.float16, torch.float64, torch.int64, torch.bool, torch.complex64


def pick(rng, choices):
    return choices[int(rng.integers(len(choices)))]


def _size(rng, most=64):
    return int(rng.integers(1, most + 1))


def _number(rng, rest):
    size = pick(rng, (2, 4))
    order = pick(rng, ('little', 'big'))
    return size, (pick(rng, WORDS) % 256**size).to_bytes(size, order)


SPLICES = (
    lambda rng, rest: (1, bytes([rest[0] ^ 1 << int(rng.integers(8))])),
    lambda rng, rest: (1, pick(rng, (b'\0', b'\x7f', b'\xff'))),
    _number,
    lambda rng, rest: (len(rest), b''),  # cut off
    lambda rng, rest: (_size(rng), b''),  # removed
    lambda rng, rest: (0, rng.bytes(_size(rng))),  # inserted
    lambda rng, rest: (0, rest[:_size(rng, 256)] * _size(rng, 8)),
    lambda rng, rest: (256, bytes(min(256, len(rest)))),
)
"""tuple[callable]: How many bytes go at a place, and what comes instead; all
take a generator and the content from there on."""
TENSORS = (
    lambda rng, value: value.flatten()[:int(rng.integers(9))].clone(),
    lambda rng, value: torch.tensor(1.0),
    lambda rng, value: value.unsqueeze(0),
    lambda rng, value: value.to(pick(rng, DTYPES)),
    lambda rng, value: value.float() * pick(rng, (float('nan'), 1e38)),
    lambda rng, value: torch.zeros(1).expand(10**12),  # claims terabytes
    lambda rng, value: value.to_sparse() if value.dim() else None,
)


def mutate(rng, data):
    """Damage bytes at one to six places, half of them in the header."""
    for _ in range(_size(rng, 6) if DAMAGE['on'] else 0):
        end = len(data) if rng.random() < 0.5 else min(len(data), HEADER)
        at = int(rng.integers(max(end, 1)))
        size, new = pick(rng, SPLICES)(rng, data[at:] or b'\0')
        data = data[:at] + new + data[at + size:]
    return data


def mutate_lines(rng, text):
    """Damage a text of lines: paths in it, or its bytes."""
    if not DAMAGE['on'] or rng.random() < 0.3:
        return mutate(rng, text.encode())
    lines = text.split('\n')
    for _ in range(_size(rng, 3)):  # add, replace or leave out
        at = int(rng.integers(len(lines)))
        new = pick(rng, ([], [pick(rng, PATHS)], [lines[at], lines[0]]))
        lines[at:at + int(rng.integers(2))] = new
        lines = lines or ['']
    return '\r\n'.join(lines).encode('utf-8', 'surrogatepass')


def mutate_image(rng, data):
    """Damage an image; a PNG's checksums are made right half of the time."""
    data = mutate(rng, data)
    if rng.random() < 0.5 or data[:4] != b'\x89PNG':
        return data
    out, at = bytearray(data), 8
    while at + 12 <= len(out):
        end = at + 8 + int.from_bytes(out[at:at + 4], 'big')
        if end + 4 > len(out):
            break
        out[end:end + 4] = struct.pack('>I', zlib.crc32(out[at + 4:end]))
        at = end + 4
    return bytes(out)


def _nodes(value, path=()):
    """Paths of a value and of all values in it."""
    yield path
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, item in value.items() if isinstance(value, dict) else ():
        yield from _nodes(item, (*path, key))


def _other(rng, value):
    """Something like a value, or unlike it."""
    like = ODD
    if isinstance(value, (int, float)):
        like = -value, value * 3, value + 1, str(value), [value], value * 0.5
    elif isinstance(value, str):
        like = value + 's', value[:-1], value.upper(), [value], {'type': value}
    elif isinstance(value, (list, tuple)):
        like = value[:-1], value * 2, value[::-1], value[:1], [value], \
            tuple(value), list(value)
    return deepcopy(pick(rng, like if rng.random() < 0.6 else ODD))


def mutate_nested(rng, value, types=(), names=('no such key', )):
    """A copy of nested plain values with a mistake, and the path to it;
    ``types`` are what a ``type`` may become, and ``names`` keys to add.
    """
    if not DAMAGE['on']:
        return value, ()
    root = [deepcopy(value)]
    *before, key = path = pick(rng, list(_nodes(root))[1:])
    holder = reduce(operator.getitem, before, root)
    choice = rng.random()
    if key == 'type' and types and choice < 0.6:
        holder[key] = pick(rng, types)
    elif choice < 0.15:
        del holder[key]
    elif choice < 0.25 and isinstance(key, str):
        holder[pick(rng, (key + 's', key[1:], key.upper()))] = holder.pop(key)
    elif choice < 0.4 and isinstance(holder, dict):
        holder[pick(rng, names)] = deepcopy(pick(rng, ODD))
    else:
        holder[key] = _other(rng, holder[key])
    return root[0] if root else None, path[1:]


def mutate_state(rng, state):
    """Damage names, shapes, types and values of some tensors."""
    out = OrderedDict(state)
    for _ in range(_size(rng, min(3, len(out))) if DAMAGE['on'] else 0):
        name = pick(rng, list(out))
        value, choice = out.pop(name), rng.random()
        if choice < 0.1:
            continue
        if choice < 0.2:
            name = re.sub(r'\d+', pick(rng, NUMBERS), name, count=1)
        elif choice < 0.3:
            name = pick(rng, PATHS)
        elif not isinstance(value, torch.Tensor) or value.is_sparse:
            value = deepcopy(pick(rng, ODD))
        elif value.numel() < 10**7:  # or it claims too much already
            value = pick(rng, TENSORS)(rng, value)
        out[name] = value
    return out
