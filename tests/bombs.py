"""Image files of some hundred bytes that claim any size, and hostile code."""
import io
import os
import struct
import zlib
from functools import partial

from PIL import Image


def bomb(kind, width, height):
    """A whole file of 8x8 pixels with another size in its header."""
    stream = io.BytesIO()
    Image.new('RGB', (8, 8), (90, 60, 30)).save(stream, kind)
    content = bytearray(stream.getvalue())
    if kind == 'PPM':
        return bytes(content.replace(b'8 8', b'%d %d' % (width, height)))
    if kind == 'PNG':
        struct.pack_into('>II', content, 16, width, height)
        struct.pack_into('>I', content, 29, zlib.crc32(content[12:29]))
    elif kind == 'JPEG':
        start = content.index(b'\xff\xc0') + 5
        struct.pack_into('>HH', content, start, height, width)
    elif kind == 'BMP':
        struct.pack_into('<ii', content, 18, width, height)
    elif kind == 'GIF':  # its screen, and its frame behind the palette
        frame = content.index(b'\x2c', 13 + 3 * 2**(1 + (content[10] & 7)))
        for start in (6, frame + 5):
            struct.pack_into('<HH', content, start, width, height)
    else:
        for tag, value in ((256, width), (257, height)):
            start = content.index(struct.pack('<HHI', tag, 4, 1)) + 8
            struct.pack_into('<I', content, start, value)
    return bytes(content)


KINDS = dict(
    png='PNG', jpg='JPEG', bmp='BMP', gif='GIF', ppm='PPM', tif='TIFF')
BOMBS = {suffix: partial(bomb, kind) for suffix, kind in KINDS.items()}
png, ppm = BOMBS['png'], BOMBS['ppm']


class HostileCode:
    """Would run a command when it is unpickled."""

    def __reduce__(self):
        return os.system, ('touch hostile_code_was_run', )
