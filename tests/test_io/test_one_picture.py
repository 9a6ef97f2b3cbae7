"""One file, one picture: in preparation, training, prediction, on pages."""
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from mbos.datasets import PartialLabelDataset
from mbos.datasets.checks import check_pixels
from mbos.inference.prediction import as_photograph
from mbos.io import RefusedError
from mbos.io.labels import save_labels
from mbos.io.photographs import (EncodedPhotograph, Layout, is_colourless,
                                 read_layout, read_photograph, to_8_bits)
from prepare_dataset.labels import binary, open_photograph
from tests.tiny_runs import LOAD

HEIGHT, WIDTH = 24, 40
TURNS = range(1, 9)
INVERSE = {6: 8, 8: 6}  # turns that another one undoes


def eye():
    """What no turn or mirroring leaves as it is; values fit 8 bits."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[:] = (200, 100, 40)
    image[:8, :16] = (40, 180, 60)
    return image


def as_stored(upright, orientation):
    """What a camera stores that notes an orientation."""
    return np.ascontiguousarray(
        turn(upright, INVERSE.get(orientation, orientation)))


def turn(image, orientation):
    return Layout(image.shape[:2], orientation).turn(image)


def set_orientation(path, orientation):
    """Note an orientation in a PNG behind its pixels, where readers of the
    header do not look.
    """
    body = (b'eXIfII*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0' +
            bytes([orientation]) + bytes(7))
    chunk = struct.pack('>I', len(body) - 4) + body
    chunk += struct.pack('>I', zlib.crc32(body))
    content = path.read_bytes()
    path.write_bytes(content[:-12] + chunk + content[-12:])


def set_tag(path, tag, value, name=None):
    """Change a number in the directory of a little-endian TIFF, or its name.
    """
    content, entry = path.read_bytes(), struct.pack('<HHI', tag, 3, 1)
    before, _, after = content.partition(entry)
    entry = struct.pack('<HHIH', name or tag, 3, 1, value)
    path.write_bytes(before + entry + after[2:])


def save_with_exif(path, orientation):
    """Save the eye as it is stored; nearly without loss."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = dict(lossless=True) if path.suffix == '.webp' else \
        dict(subsampling=0, quality=100) if path.suffix == '.jpg' else {}
    stored = Image.fromarray(as_stored(eye(), orientation))
    stored.save(path, exif=exif, **options)


def eyes(folder, pipeline, images='images', **settings):
    """A dataset of photographs of vessels."""
    return PartialLabelDataset('eyes', ['vessel'], images, pipeline,
                               str(folder), **settings)


def check_every_place(path, expected, atol=0):
    """Compare what each place reads of a file."""
    dataset = eyes(path.parent, LOAD[:1], '.', img_suffix=path.suffix)
    index = [info['filename'] for info in dataset.img_infos].index(path.name)
    for place, image in dict(
            prepare=open_photograph(path).read().image,
            train=EncodedPhotograph(path).read(bgr=True).image[..., ::-1],
            validate=dataset[index]['img'][..., ::-1],
            predict=as_photograph(str(path)).image).items():
        assert image.dtype == np.uint8, place
        np.testing.assert_allclose(
            image.astype(int), expected.astype(int), atol=atol, err_msg=place)
    assert read_layout(path).shape == expected.shape[:2]


@pytest.mark.parametrize('bits', [8, 12, 16])
@pytest.mark.parametrize('channels', [1, 3, 4])
@pytest.mark.parametrize('suffix, orientation', [('.png', 1), ('.png', 6),
                                                 ('.tif', 1)])
def test_depth_channels_orientation(tmp_path, suffix, channels, bits,
                                    orientation):
    expected = eye()
    if channels == 1:
        expected = np.repeat(expected[..., :1], 3, axis=2)
    stored = as_stored(expected, orientation)[..., ::-1]
    stored = np.concatenate([stored, stored[..., :1] // 3], 2)[..., :channels]
    if bits > 8:
        stored = stored.astype(np.uint16) << (bits - 8)
        stored[0, 0] = 2**bits - 1  # so that the depth can be found
        white = np.zeros(stored.shape[:2])
        white[0, 0] = 1
        expected[turn(white, orientation) > 0] = 255
    path = tmp_path / f'eye{suffix}'
    assert cv2.imwrite(str(path), stored)
    if orientation > 1:
        set_orientation(path, orientation)
    check_every_place(path, expected)


@pytest.mark.parametrize('orientation', TURNS)
def test_all_orientations(tmp_path, orientation):
    stored = Image.fromarray(as_stored(eye(), orientation))
    stored.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(
        np.array(ImageOps.exif_transpose(stored)), eye())
    for suffix in ('jpg', 'tif', 'webp', 'png'):
        path = tmp_path / f'eye.{suffix}'
        save_with_exif(path, orientation)
        check_every_place(path, eye(), atol=4 if suffix == 'jpg' else 0)
    path = tmp_path / 'deep.tif'
    stored = as_stored(eye(), orientation)[..., ::-1].astype(np.uint16) * 257
    cv2.imwrite(str(path), stored)
    set_tag(path, 284, orientation, 274)  # says only what is usual
    check_every_place(path, eye())
    assert len(read_photograph(path).notes) == 1 + (orientation > 1)


@pytest.mark.parametrize('suffix, mode', [
    (suffix, mode) for suffix, modes in dict(
        png='1 L LA P RGBA', tif='1 L LA P RGBA CMYK', gif='1 L P RGB RGBA',
        jpg='1 L CMYK', webp='RGB RGBA', jp2='RGB', bmp='RGB',
        ppm='RGB').items() for mode in modes.split()])  # yapf: disable
def test_formats_and_modes(tmp_path, mode, suffix):
    path = tmp_path / f'eye.{suffix}'
    Image.fromarray(eye()).convert(mode).save(path)
    with Image.open(path) as again:
        check_every_place(path, np.array(again.convert('RGB')))


@pytest.mark.parametrize('suffix, atol', [('.jp2', 2), ('.ppm', 0)])
def test_deep_formats(tmp_path, suffix, atol):
    expected = np.kron(eye(), np.ones((4, 4, 1), np.uint8))
    stored = expected.astype(np.uint16) << 4
    stored[0, 0], expected[0, 0] = 4095, 255
    path = tmp_path / f'eye{suffix}'
    assert cv2.imwrite(str(path), stored[..., ::-1])
    check_every_place(path, expected, atol)


def test_strange_tiffs(tmp_path):
    path = tmp_path / 'eye.tif'
    grey = eye()[..., 0]
    Image.fromarray(65535 - grey.astype(np.uint16) * 257).save(path)
    set_tag(path, 262, 0)  # 0 is white
    check_every_place(path, np.stack([grey] * 3, 2))
    # no decoder reads them right
    cv2.imwrite(str(path), eye().astype(np.uint16) * 257)
    set_tag(path, 284, 2)
    with pytest.raises(RefusedError, match='eye.tif.*planar'):
        read_photograph(path)
    cv2.imwrite(str(path), eye().astype(np.float32) / 255)
    with pytest.raises(RefusedError, match='eye.tif.*floating-point'):
        read_photograph(path)


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'webp'])
def test_half_a_file_is_refused(tmp_path, suffix):
    path = tmp_path / f'eye.{suffix}'
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])
    with pytest.raises(RefusedError, match=path.name):
        read_photograph(path)


@pytest.mark.parametrize('drawn_as, orientation', [
    *((o, o) for o in TURNS), *((1, o) for o in range(5, 9))])  # yapf: disable
def test_masks_follow(tmp_path, drawn_as, orientation):
    """A mask of the stored pixels turns; one of the upright picture is known
    by its shape."""
    truth = (eye()[..., 0] == 40).astype(np.uint8)
    for folder in ('images', 'vessel', 'fov'):
        (tmp_path / folder).mkdir()
    for folder in ('vessel', 'fov'):
        save_labels(tmp_path / folder / 'eye.png', as_stored(truth, drawn_as))
    path = tmp_path / 'images/eye.jpg'
    save_with_exif(path, orientation)
    found, _ = binary(tmp_path / 'vessel/eye.png', read_layout(path))
    np.testing.assert_array_equal(found, truth)
    size = dict(img_scale=(WIDTH, HEIGHT), crop_size=(HEIGHT, WIDTH))
    for pipeline in (LOAD, [dict(type='LoadRandomCrop', **size)]):
        dataset = eyes(
            tmp_path, pipeline, ann_dirs=dict(vessel='vessel'), fov_dir='fov')
        check_pixels([dataset])
        sample = dataset[0]
        np.testing.assert_array_equal(sample['labels.vessel'], truth)
        np.testing.assert_allclose(
            sample['img'][..., ::-1].astype(int), eye(), atol=6)
        np.testing.assert_array_equal(dataset.get_gt_plane(0, 'vessel'), truth)
        np.testing.assert_array_equal(dataset.get_fov(0), truth > 0)


def test_pseudo_labels_are_of_the_upright_picture(tmp_path):
    """Even where their shape does not say so."""
    labels = (eye()[..., 0] == 40).astype(np.uint8)
    for folder, image in (('images', as_stored(eye(), 3)), ('pseudo', labels)):
        (tmp_path / folder).mkdir()
        Image.fromarray(image).save(tmp_path / f'{folder}/eye.png')
    set_orientation(tmp_path / 'images/eye.png', 3)
    sample = eyes(
        tmp_path, LOAD, img_suffix='.png',
        pseudo_dirs=dict(vessel='pseudo'))[0]  # yapf: disable
    np.testing.assert_array_equal(sample['labels.vessel'], labels)
    np.testing.assert_array_equal(sample['img'][..., ::-1], eye())


def test_dicom(tmp_path):
    pydicom = pytest.importorskip('pydicom')
    from pydicom.dataset import FileDataset, FileMetaDataset
    path, meta = tmp_path / 'eye.dcm', FileMetaDataset()
    meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = '1.2.840.10008.5.1.4.1.1.77.1.5.1'
    meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b'\0' * 128)

    def check(expected, **values):
        for name, value in values.items():
            setattr(dataset, name, value)
        dataset.save_as(path)
        check_every_place(path, expected, atol=1)

    check(
        eye(), Rows=HEIGHT, Columns=WIDTH, SamplesPerPixel=3,
        PlanarConfiguration=0, BitsAllocated=8, BitsStored=8, HighBit=7,
        PixelRepresentation=0, PhotometricInterpretation='RGB',
        PixelData=eye().tobytes())  # yapf: disable
    # 12 bits of grey, of which the brightest has 10
    grey = eye()[..., 0].astype(np.uint16) * 5
    del dataset.PlanarConfiguration
    expected = ((4095 - grey) / 4095 * 255.99).astype(np.uint8)
    check(
        np.stack([expected] * 3, 2), SamplesPerPixel=1, BitsAllocated=16,
        BitsStored=12, HighBit=11, PhotometricInterpretation='MONOCHROME1',
        PixelData=grey.tobytes())  # yapf: disable


def test_dicom_without_pydicom(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pydicom', None)
    path = tmp_path / 'eye.dcm'
    path.write_bytes(bytes(128) + b'DICM' + bytes(100))
    with pytest.raises(RefusedError, match=r"pip install 'mbos\[dicom\]'"):
        read_photograph(path)


def test_reduction_to_8_bits():
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
    grey[..., 1] += 3  # compression noise
    assert is_colourless(grey)
