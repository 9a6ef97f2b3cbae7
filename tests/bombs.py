"""Image files of some hundred bytes that claim any size."""
import io
import struct
import zlib

from PIL import Image


def _small(kind):
    stream = io.BytesIO()
    Image.new('RGB', (8, 8), (90, 60, 30)).save(stream, kind)
    return bytearray(stream.getvalue())


def png(width, height):
    """A PNG of one byte of pixels."""

    def chunk(name, content):
        return (struct.pack('>I', len(content)) + name + content +
                struct.pack('>I', zlib.crc32(name + content)))

    header = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) +
            chunk(b'IDAT', zlib.compress(b'\0')) + chunk(b'IEND', b''))


def jpeg(width, height):
    """A whole JPEG of 8x8 pixels with another size in its header."""
    content = _small('JPEG')
    start = content.index(b'\xff\xc0') + 5
    content[start:start + 4] = struct.pack('>HH', height, width)
    return bytes(content)


def bmp(width, height):
    """A BMP without pixels."""
    return (b'BM' + struct.pack('<IHHI', 54, 0, 0, 54) + struct.pack(
        '<IiiHHIIiiII', 40, width, height, 1, 24, 0, 0, 1, 1, 0, 0))


def gif(width, height):
    """A GIF of 8x8 pixels whose frame and screen are of another size."""
    content = _small('GIF')
    content[6:10] = struct.pack('<HH', width, height)
    start = content.index(b'\x2c', 13 + 3 * 2**(1 + (content[10] & 7)))
    content[start + 5:start + 9] = struct.pack('<HH', width, height)
    return bytes(content)


def ppm(width, height):
    """A PPM without pixels."""
    return b'P6 %d %d 255\n' % (width, height)


def tiff(width, height):
    """A TIFF with one short strip."""
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8),
               (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, 1, 8), (277, 3, 1, 1),
               (278, 4, 1, height), (279, 4, 1, 1)]
    directory = struct.pack('<H', len(entries)) + b''.join(
        struct.pack('<HHII', *entry) for entry in entries)
    return b'II*\0' + struct.pack('<I', 9) + b'\0' + directory + b'\0' * 4


BOMBS = dict(png=png, jpg=jpeg, bmp=bmp, gif=gif, ppm=ppm, tif=tiff)
