"""One file, one picture: in preparation, training, prediction, on pages.

Photographs of every kind are read, and what is none is refused.
"""
import os
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mbos.datasets import PartialLabelDataset
from mbos.inference.prediction import as_photograph
from mbos.io.photographs import (TURNS, EncodedPhotograph, PhotographError,
                                 is_colourless, read_layout, read_photograph,
                                 to_8_bits)
from mbos.pictures.gallery import read_photograph as shown_on_a_page
from prepare_dataset.labels import binary, open_photograph
from tests import bombs

HEIGHT, WIDTH = 24, 40
INVERSE = {o: o for o in (2, 3, 4, 5, 7)} | {1: 1, 6: 8, 8: 6}
"""dict[int, int]: The turn that undoes each one."""


def eye():
    """What no turn or mirroring leaves as it is; values fit 8 bits."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = (200, 100, 40)
    image[:8, :16] = (40, 180, 60)
    return image


def as_stored(upright, orientation):
    """What a camera stores that notes an orientation."""
    turn = TURNS.get(INVERSE[orientation], lambda a: a)
    return np.ascontiguousarray(turn(upright))


def set_orientation(path, orientation):
    """Note an orientation in a PNG, whatever its pixels are."""
    tiff = (b'II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0' +
            bytes([orientation]) + b'\0\0\0\0\0\0\0')
    body = b'eXIf' + tiff
    chunk = (
        len(tiff).to_bytes(4, 'big') + body +
        zlib.crc32(body).to_bytes(4, 'big'))
    # behind the pixels, where readers of the header do not look
    content = path.read_bytes()
    path.write_bytes(content[:-12] + chunk + content[-12:])


def in_every_place(path):
    """RGB pictures by the place where the file is read."""
    folder = str(path.parent)
    dataset = PartialLabelDataset(
        'eyes', ['vessel'],
        folder, [dict(type='LoadImageFromFile')],
        img_suffix=path.suffix)
    index = [info['filename'] for info in dataset.img_infos].index(path.name)
    return dict(
        prepare=open_photograph(path).decode(),
        train=EncodedPhotograph(path).decode(bgr=True)[..., ::-1],
        validate=dataset[index]['img'][..., ::-1],
        predict=as_photograph(str(path)).image,
        page=np.array(shown_on_a_page(str(path), 10**6)[0]))


def check_every_place(path, expected, atol=0):
    for place, image in in_every_place(path).items():
        assert image.dtype == np.uint8, place
        np.testing.assert_allclose(
            image.astype(int), expected.astype(int), atol=atol, err_msg=place)
    assert read_layout(path).shape == expected.shape[:2]


def with_channels(image, channels):
    """The image with 1 (grey), 2 (grey, alpha), 3 or 4 channels, BGR."""
    image = image[..., :1] if channels < 3 else image[..., ::-1]
    if channels in (2, 4):
        alpha = np.full_like(image[..., :1], np.iinfo(image.dtype).max // 3)
        image = np.concatenate([image, alpha], axis=2)
    return image


@pytest.mark.parametrize('bits', [8, 12, 16])
@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('suffix, orientation', [('.png', 1), ('.png', 3),
                                                 ('.png', 6), ('.tif', 1)])
def test_depth_channels_orientation_format(tmp_path, suffix, channels, bits,
                                           orientation):
    stored = with_channels(as_stored(eye(), orientation), channels)
    if bits > 8:
        stored = stored.astype(np.uint16) << (bits - 8)
        stored[0, 0] = 2**bits - 1  # so that the depth can be found
    path = tmp_path / f'eye{suffix}'
    assert cv2.imwrite(str(path), stored)
    if orientation > 1:
        set_orientation(path, orientation)
    expected = eye()
    if channels == 1:
        expected = np.repeat(expected[..., :1], 3, axis=2)
    white = as_stored(np.zeros((HEIGHT, WIDTH)), orientation)
    white[0, 0] = bits > 8
    expected[TURNS.get(orientation, lambda a: a)(white) > 0] = 255
    check_every_place(path, expected)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('suffix', ['.jpg', '.tif', '.webp', '.png'])
def test_all_orientations(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(as_stored(eye(), orientation))
    options = dict(quality=100, subsampling=0) if suffix == '.jpg' else {}
    if suffix == '.webp':
        options = dict(lossless=True)
    path = tmp_path / f'eye{suffix}'
    stored.save(path, exif=exif, **options)
    check_every_place(path, eye(), atol=4 if suffix == '.jpg' else 0)


@pytest.mark.parametrize('suffix, mode', [(suffix, mode)
                                          for suffix, modes in dict(
                                              png='1 L LA P RGBA',
                                              tif='1 L LA P RGBA CMYK',
                                              gif='1 L P RGBA',
                                              jpg='1 L CMYK',
                                              webp='RGBA').items()
                                          for mode in modes.split()])
def test_modes(tmp_path, mode, suffix):
    image = Image.fromarray(eye()).convert(mode)
    path = tmp_path / f'eye.{suffix}'
    image.save(path)
    with Image.open(path) as again:
        expected = np.array(again.convert('RGB'))
    # Pillow and OpenCV decode a JPEG's chroma alike
    check_every_place(path, expected)


@pytest.mark.parametrize('suffix, options', [
    ('.jp2', dict(irreversible=False)),
    ('.webp', dict(lossless=True)),
    ('.bmp', {}),
    ('.ppm', {}),
    ('.gif', {}),
])
def test_formats(tmp_path, suffix, options):
    path = tmp_path / f'eye{suffix}'
    Image.fromarray(eye()).save(path, **options)
    check_every_place(path, eye())


@pytest.mark.parametrize('suffix', ['.jp2', '.ppm'])
def test_deep_formats(tmp_path, suffix):
    expected = np.kron(eye(), np.ones((4, 4, 1), np.uint8))
    stored = expected.astype(np.uint16) << 4
    stored[0, 0], expected[0, 0] = 4095, 255
    path = tmp_path / f'eye{suffix}'
    assert cv2.imwrite(str(path), stored[..., ::-1])
    check_every_place(path, expected, atol=2 if suffix == '.jp2' else 0)


def set_tag(path, tag, value):
    """Change a number in the directory of a little-endian TIFF."""
    content, entry = path.read_bytes(), struct.pack('<HHI', tag, 3, 1)
    at = content.index(entry) + len(entry)
    path.write_bytes(content[:at] + struct.pack('<H', value) +
                     content[at + 2:])


def test_16_bits_of_which_0_is_white(tmp_path):
    path = tmp_path / 'eye.tif'
    grey = eye()[..., 0]
    Image.fromarray(65535 - grey.astype(np.uint16) * 257).save(path)
    set_tag(path, 262, 0)
    check_every_place(path, np.stack([grey] * 3, 2))


def test_16_bits_in_planes_are_refused(tmp_path):
    """No decoder reads them right."""
    path = tmp_path / 'eye.tif'
    cv2.imwrite(str(path), eye().astype(np.uint16) * 257)
    set_tag(path, 284, 2)
    with pytest.raises(PhotographError, match='eye.tif.*planar'):
        read_photograph(path)


def test_colours_of_floating_point_numbers_are_refused_by_name(tmp_path):
    path = tmp_path / 'eye.tif'
    cv2.imwrite(str(path), eye().astype(np.float32) / 255)
    with pytest.raises(PhotographError, match='eye.tif.*floating-point'):
        read_photograph(path)


def test_what_is_refused_is_refused_everywhere(tmp_path):
    path = tmp_path / 'eye.jpg'
    Image.fromarray(eye()).resize((400, 300)).save(path, quality=95)
    thumbnail = path.read_bytes()
    path.write_bytes(thumbnail[:len(thumbnail) // 2])
    for read in (lambda p: open_photograph(p).decode(),
                 lambda p: EncodedPhotograph(p).decode(bgr=True),
                 lambda p: read_photograph(str(p))):
        with pytest.raises(ValueError, match='eye.jpg: cannot be read'):
            read(path)
    assert not EncodedPhotograph(path).can_reduce


def test_truncated_webp_and_large_claims(tmp_path, monkeypatch):
    path = tmp_path / 'eye.webp'
    for options in (dict(lossless=True), dict(quality=80),
                    dict(quality=80, exif=b'Exif\0\0')):
        Image.fromarray(eye()).save(path, **options)
        monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', str(HEIGHT * WIDTH))
        assert read_layout(path).shape == (HEIGHT, WIDTH)
        monkeypatch.setenv('MBOS_MAX_IMAGE_PIXELS', str(HEIGHT * WIDTH - 1))
        with pytest.raises(PhotographError, match='40x24 pixels, more than'):
            read_layout(path)
    monkeypatch.delenv('MBOS_MAX_IMAGE_PIXELS')
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(PhotographError, match='eye.webp'):
        read_photograph(path)


@pytest.mark.parametrize('drawn_on, orientation',
                         [('stored', o)
                          for o in range(1, 9)] + [('upright', o)
                                                   for o in range(5, 9)])
def test_masks_follow(tmp_path, orientation, drawn_on):
    """A mask of the stored pixels turns; one of the upright picture is known
    by its shape."""
    truth = np.zeros((HEIGHT, WIDTH), np.uint8)
    truth[:8, :16] = 1
    path = tmp_path / 'images/eye.jpg'
    path.parent.mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(as_stored(eye(), orientation)).save(
        path, exif=exif, quality=100, subsampling=0)
    mask = as_stored(truth, orientation) if drawn_on == 'stored' else truth
    for folder in ('vessel', 'fov'):
        (tmp_path / folder).mkdir()
        Image.fromarray(mask).save(tmp_path / folder / 'eye.png')
    found, _ = binary(tmp_path / 'vessel/eye.png', read_layout(path))
    np.testing.assert_array_equal(found, truth)
    options = dict(
        name='eyes',
        tasks=['vessel'],
        img_dir='images',
        data_root=str(tmp_path),
        ann_dirs=dict(vessel='vessel'),
        fov_dir='fov')
    load = [dict(type='LoadImageFromFile'), dict(type='LoadPlanes')]
    crop = [
        dict(
            type='LoadRandomCrop',
            img_scale=(WIDTH, HEIGHT),
            crop_size=(HEIGHT, WIDTH))
    ]
    for pipeline in (load, crop):
        dataset = PartialLabelDataset(pipeline=pipeline, **options)
        dataset.check()
        sample = dataset[0]
        np.testing.assert_array_equal(sample['labels.vessel'], truth)
        np.testing.assert_allclose(
            sample['img'][..., ::-1].astype(int), eye(), atol=6)
        np.testing.assert_array_equal(dataset.get_gt_plane(0, 'vessel'), truth)
        np.testing.assert_array_equal(dataset.get_fov(0), truth > 0)


def test_pseudo_labels_are_of_the_upright_picture(tmp_path):
    """Even where their shape does not say so."""
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:8, :16] = 1
    for folder, image in (('images', as_stored(eye(), 3)), ('pseudo', labels)):
        (tmp_path / folder).mkdir()
        path = tmp_path / f'{folder}/eye.png'
        Image.fromarray(image).save(path)
    set_orientation(tmp_path / 'images/eye.png', 3)
    dataset = PartialLabelDataset(
        'eyes', ['vessel'],
        'images', [dict(type='LoadImageFromFile'),
                   dict(type='LoadPlanes')],
        data_root=str(tmp_path),
        img_suffix='.png',
        pseudo_dirs=dict(vessel='pseudo'))
    sample = dataset[0]
    np.testing.assert_array_equal(sample['labels.vessel'], labels)
    np.testing.assert_array_equal(sample['img'][..., ::-1], eye())


def test_as_pillow_turns(tmp_path):
    for orientation in TURNS:
        stored = Image.fromarray(as_stored(eye(), orientation))
        stored.getexif()[0x0112] = orientation
        np.testing.assert_array_equal(
            np.array(ImageOps.exif_transpose(stored)), eye())


def test_dicom(tmp_path):
    pydicom = pytest.importorskip('pydicom')
    from pydicom.dataset import FileDataset, FileMetaDataset
    path = tmp_path / 'eye.dcm'
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.77.1.5.1'
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b'\0' * 128)
    dataset.Rows, dataset.Columns = HEIGHT, WIDTH
    dataset.SamplesPerPixel, dataset.PlanarConfiguration = 3, 0
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.PhotometricInterpretation = 'RGB'
    dataset.PixelData = eye().tobytes()
    dataset.save_as(path)
    check_every_place(path, eye())
    # 12 bits of grey, of which the brightest has 10
    grey = eye()[..., 0].astype(np.uint16) * 5
    dataset.SamplesPerPixel = 1
    del dataset.PlanarConfiguration
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PhotometricInterpretation = 'MONOCHROME1'
    dataset.PixelData = grey.tobytes()
    dataset.save_as(path)
    expected = ((4095 - grey) / 4095 * 255.99).astype(np.uint8)
    check_every_place(path, np.stack([expected] * 3, 2), atol=1)


def test_dicom_without_pydicom(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydicom', None)
    path = tmp_path / 'eye.dcm'
    path.write_bytes(bytes(128) + b'DICM' + bytes(100))
    with pytest.raises(PhotographError, match=r"pip install 'mbos\[dicom\]'"):
        read_photograph(path)


def deep_tiff(values, orientation=1):
    """An uncompressed TIFF of 16-bit RGB, written by hand."""
    height, width, _ = values.shape
    data = values.astype('<u2').tobytes()
    entries = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 134),
               (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 140),
               (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, height),
               (279, 4, 1, len(data))]
    directory = b''.join(struct.pack('<HHII', *entry) for entry in entries)
    return (b'II*\0' + struct.pack('<IH', 8, len(entries)) + directory +
            struct.pack('<IHHH', 0, 16, 16, 16) + data)


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation_of_deep_tiffs(tmp_path, orientation):
    path = tmp_path / 'eye.tif'
    stored = as_stored(eye(), orientation).astype(np.uint16) * 257
    path.write_bytes(deep_tiff(stored, orientation))
    found = read_photograph(str(path))
    np.testing.assert_array_equal(found.image, eye())
    assert found.notes[-1] == '16 bits reduced to 8'
    assert len(found.notes) == (2 if orientation > 1 else 1)


def test_shares_and_strange_values():
    values = np.array([0, 0.5, 1], np.float32)
    np.testing.assert_array_equal(to_8_bits(values)[0], [0, 127, 255])
    odd = np.array([np.nan, np.inf, -4, 255, 1e6], np.float32)
    assert to_8_bits(odd)[0].tolist() == [0, 0, 0, 0, 254]
    assert to_8_bits(np.array([0, 1], np.uint16))[0].tolist() == [0, 1]
    for bits in (10, 12, 14, 16):  # a camera of 12 bits is not dark
        stored = np.array([0, 2**(bits - 1), 2**bits - 1], np.uint16)
        found, depth = to_8_bits(stored)
        assert found.tolist() == [0, 128, 255] and depth == bits


def test_colour():
    assert not is_colourless(eye())
    grey = np.repeat(eye()[..., :1], 3, axis=2)
    assert is_colourless(grey)
    grey[..., 1] += 3  # compression noise
    assert is_colourless(grey)


def write_half(path):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path, format='PNG')
    path.write_bytes(path.read_bytes()[:4000])


@pytest.mark.parametrize('write, said', [
    (lambda path: path.write_bytes(b''), 'is empty'),
    (lambda path: path.write_text('notes on the eye'), 'is not a picture'),
    (write_half, 'cannot be read'),
    (lambda path: path.write_bytes(bombs.png(60000, 60000)), 'more than the'),
    (lambda path: path.mkdir(), 'not a regular file'),
    (lambda path: os.mkfifo(path), 'not a regular file'),
    (lambda path: None, 'no such file'),
])
def test_what_is_no_photograph(tmp_path, write, said):
    path = tmp_path / 'eye.jpg'
    write(path)
    with pytest.raises(PhotographError, match=said) as caught:
        read_photograph(str(path))
    assert str(path) in str(caught.value)
