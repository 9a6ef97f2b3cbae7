"""Raw layouts of public collections, as their archives unpack.

Each ``write_<collection>`` puts a photograph and the labels that the
collection has into ``OUT/raw``, with official names and encodings, and the
truth of every task into ``OUT/hidden``.
"""
import struct
from pathlib import Path

import numpy as np

from mbos.io.files import save_bytes, save_image
from .synthetic_camera import Camera
from .synthetic_eye import LESIONS, label_planes

IDRID_GROUPS = dict(
    MA='1. Microaneurysms',
    HE='2. Haemorrhages',
    EX='3. Hard Exudates',
    SE='4. Soft Exudates',
    OD='5. Optic Disc')
IDRID_SPLITS = dict(train='a. Training Set', test='b. Testing Set')

Masks = dict[str, np.ndarray]


def one_bit_tiff(mask: np.ndarray) -> bytes:
    """Encode a mask (H, W) as IDRiD does: one bit per pixel, black and red
    palette.

    Pillow reads such files but writes palettes with eight bits only.
    """
    height, width = mask.shape
    data = np.packbits(mask, axis=1).tobytes()
    palette = struct.pack('<6H', 0, 65535, 0, 0, 0, 0)
    short, long = 3, 4
    behind = 8 + 2 + 12 * 10 + 4
    entries = [(256, long, 1, width), (257, long, 1, height),
               (258, short, 1, 1), (259, short, 1, 1), (262, short, 1, 3),
               (273, long, 1, behind + len(palette)), (277, short, 1, 1),
               (278, long, 1, height), (279, long, 1, len(data)),
               (320, short, 6, behind)]
    directory = b''.join(struct.pack('<HHII', *entry) for entry in entries)
    return (b'II*\0' + struct.pack('<IH', 8, len(entries)) + directory +
            struct.pack('<I', 0) + palette + data)


def _binary(mask: np.ndarray, path: Path) -> None:
    # Pillow would shrink the grey palette of a GIF to the two values in use.
    options = dict(optimize=False) if path.suffix == '.gif' else {}
    save_image(path, mask.astype(np.uint8) * 255, **options)


def _hide(out: Path, collection: str, split: str, stem: str,
          masks: Masks) -> None:
    for task, plane in label_planes(masks).items():
        save_image(out / 'hidden' / collection / split / task / f'{stem}.png',
                   plane)


def write_drive(out: Path, split: str, number: int, image: np.ndarray,
                masks: Masks) -> None:
    """Write one photograph as DRIVE does: TIFF, vessels and mask as GIF."""
    folder = 'training' if split == 'train' else 'test'
    root, stem = out / 'raw' / 'DRIVE' / folder, f'{number:02d}_{folder}'
    save_image(root / 'images' / f'{stem}.tif', image, compression='tiff_lzw')
    _binary(masks['vessel'], root / '1st_manual' / f'{number:02d}_manual1.gif')
    _binary(masks['fov'], root / 'mask' / f'{stem}_mask.gif')
    _hide(out, 'DRIVE', split, stem, masks)


def write_idrid(out: Path, split: str, number: int, image: np.ndarray,
                masks: Masks) -> None:
    """Write one photograph as IDRiD does: lesions and disc as 1-bit TIFF."""
    stem, folder = f'IDRiD_{number:02d}', IDRID_SPLITS[split]
    root = out / 'raw' / 'IDRiD' / 'A. Segmentation'
    save_image(root / '1. Original Images' / folder / f'{stem}.jpg', image)
    for name, group in IDRID_GROUPS.items():
        mask = masks['disc' if name == 'OD' else name]
        # A lesion that the eye does not have has no file.
        if mask.any():
            save_bytes(
                root / '2. All Segmentation Groundtruths' / folder / group /
                f'{stem}_{name}.tif', one_bit_tiff(mask))
    _hide(out, 'IDRiD', split, stem, masks)


def write_reta(out: Path, number: int, camera: Camera, image: np.ndarray,
               masks: Masks) -> None:
    """Write an IDRiD photograph as a square around its field of view."""
    height, width = image.shape[:2]
    side = min(width, int(np.ceil(2 * camera.radius * height)) + 2)
    left, top = (width - side) // 2, (side - height) // 2

    def square(array):
        pad = [(top, side - height - top), (0, 0), (0, 0)][:array.ndim]
        return np.pad(array[:, left:left + side], pad)

    masks = {name: square(mask) for name, mask in masks.items()}
    stem, root = f'IDRiD_{number:02d}', out / 'raw' / 'RETA' / 'train'
    save_image(root / 'images' / f'{stem}.jpg', square(image))
    _binary(masks['vessel'], root / 'masks' / f'{stem}_vessel.png')
    _hide(out, 'RETA', 'train', stem, masks)


def write_idrid_and_reta(out: Path, number: int, camera: Camera,
                         image: np.ndarray, masks: Masks) -> None:
    write_idrid(out, 'train', number, image, masks)
    write_reta(out, number, camera, image, masks)


def write_ddr(out: Path, split: str, stem: str, image: np.ndarray,
              masks: Masks) -> None:
    """Write one photograph as DDR does: a TIFF of each lesion, some empty."""
    folder = 'valid' if split == 'val' else split
    labels = 'segmentation label' if split == 'val' else 'label'
    root = (
        out / 'raw' / 'DDR' / 'DDR-dataset' / 'lesion_segmentation' / folder)
    save_image(root / 'image' / f'{stem}.jpg', image)
    for name in LESIONS:
        _binary(masks[name], root / labels / name / f'{stem}.tif')
    _hide(out, 'DDR', split, stem, masks)


def write_refuge(out: Path, split: str, number: int, glaucoma: bool,
                 image: np.ndarray, masks: Masks) -> None:
    """Write one photograph as REFUGE does: disc and cup as grey BMP."""
    root = out / 'raw' / 'REFUGE'
    letter = ('g' if glaucoma else 'n') if split == 'train' else (
        'V' if split == 'val' else 'T')
    stem = f'{letter}{number:04d}'
    group = 'Glaucoma' if glaucoma else 'Non-Glaucoma'
    photos, labels = dict(
        train=(root / 'Training400' / group,
               root / 'Annotation-Training400' / 'Disc_Cup_Masks' / group),
        val=(root / 'REFUGE-Validation400',
             root / 'REFUGE-Validation400-GT' / 'Disc_Cup_Masks'),
        test=(root / 'Test400', root / 'REFUGE-Test-GT' / 'Disc_Cup_Masks' /
              ('G' if glaucoma else 'N')))[split]
    save_image(photos / f'{stem}.jpg', image)
    values = np.array([255, 128, 0], np.uint8)
    save_image(labels / f'{stem}.bmp', values[label_planes(masks)['odoc']])
    _hide(out, 'REFUGE', split, stem, masks)
