"""Raw collections drawn by hand, in the official layouts and encodings.

Every photograph is a disc of light on black, every structure a rectangle whose
corners are known, so that label maps can be written down.
"""
from pathlib import Path

import numpy as np
from PIL import Image

from prepare_dataset.synthetic_layouts import IDRID_GROUPS, one_bit_tiff

SIZE = (120, 100)
"""Width and height of the photographs."""
CENTRE, RADIUS = (60, 48), 40
"""Field of view: x 20 to 100, y 8 to 88; the published box adds 2 pixels."""
BOX = (18, 6, 85, 85)


def photograph(size=SIZE, centre=CENTRE, radius=RADIUS):
    """A reddish disc, brighter to the left; shape (H, W, 3)."""
    rows, columns = np.mgrid[:size[1], :size[0]]
    inside = np.hypot(columns - centre[0], rows - centre[1]) <= radius
    shade = (200 - 60 * columns / size[0])[..., None] * (1.0, 0.6, 0.3)
    return (shade * inside[..., None]).astype(np.uint8)


def rectangle(left, top, right, bottom, size=SIZE):
    """A boolean mask, right and bottom excluded."""
    mask = np.zeros((size[1], size[0]), bool)
    mask[top:bottom, left:right] = True
    return mask


def read(path):
    """The pixels of a file, as they are stored."""
    with Image.open(path) as image:
        return np.array(image)


def save(path, array, **options):
    """Save an array or image, and make its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not isinstance(array, Image.Image):
        array = Image.fromarray(array)
    if path.suffix.lower() in ('.jpg', '.jpeg'):
        # So that compression does not move the edge of the disc.
        options = dict(quality=100, subsampling=0, **options)
    array.save(path, **options)
    return path


def save_grey(path, mask):
    """Save a mask with the values 0 and 255, mode L."""
    return save(path, mask.astype(np.uint8) * 255)


def save_one_bit_palette(path, mask):
    """Save a mask as IDRiD's: 1-bit palette TIFF, black and red."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(one_bit_tiff(mask))
    return path


def make_drive(root, numbers=(21, 22)):
    """DRIVE training; vessels cover x 40-80, y 46-50."""
    base = Path(root, 'training')
    for number in numbers:
        save(base / f'images/{number}_training.tif', photograph())
        save_grey(base / f'1st_manual/{number}_manual1.gif',
                  rectangle(40, 46, 80, 50))
        save_grey(base / f'mask/{number}_training_mask.gif',
                  rectangle(30, 20, 90, 80))
    return Path(root)


LESIONS = dict(
    EX=rectangle(40, 40, 50, 50),
    HE=rectangle(45, 40, 55, 50),
    SE=rectangle(60, 60, 70, 64),
    MA=rectangle(49, 45, 51, 47))
"""HE covers half of EX (50 pixels), MA covers 2 pixels of EX not covered, and
2 of HE."""


def lesion_labels():
    """The label map of LESIONS, worked out by hand."""
    labels = np.zeros(SIZE[::-1], np.uint8)
    labels[40:50, 40:45] = 1
    labels[40:50, 45:55] = 2
    labels[60:64, 60:70] = 3
    labels[45:47, 49:51] = 4
    return labels


def make_idrid(root):
    """IDRiD_01 with all lesions and IDRiD_02 with hard exudates only."""
    base = Path(root, 'A. Segmentation')
    truth = base / '2. All Segmentation Groundtruths/a. Training Set'
    for number in ('01', '02'):
        name = f'IDRiD_{number}'
        save(base / f'1. Original Images/a. Training Set/{name}.jpg',
             photograph())
        masks = LESIONS if number == '01' else dict(EX=LESIONS['EX'])
        for kind, mask in dict(masks, OD=rectangle(70, 30, 80, 40)).items():
            save_one_bit_palette(
                truth / IDRID_GROUPS[kind] / f'{name}_{kind}.tif', mask)
    return Path(root)


def make_ddr(root):
    """One photograph per split, lesions as in IDRiD_01; SE empty in test."""
    base = Path(root, 'DDR-dataset/lesion_segmentation')
    for split in ('train', 'valid', 'test'):
        label = 'segmentation label' if split == 'valid' else 'label'
        save(base / split / 'image/007-1774-100.jpg', photograph())
        for lesion, mask in LESIONS.items():
            empty = split == 'test' and lesion == 'SE'
            save_grey(base / split / label / lesion / '007-1774-100.tif',
                      mask & (not empty))
    return Path(root)


DISC, CUP = rectangle(50, 40, 70, 60), rectangle(55, 45, 65, 55)
ODOC_LABELS = DISC.astype(np.uint8) + CUP
REFUGE_VALUES = np.uint8([255, 128, 0])[ODOC_LABELS]
"""REFUGE's encoding: 0 cup, 128 disc, 255 background."""


def make_refuge(root):
    """Two training, one validation and two test photographs."""
    root = Path(root)
    train = 'Annotation-Training400/Disc_Cup_Masks'
    for image, mask in {
            'Training400/Glaucoma/g0001': f'{train}/Glaucoma/g0001',
            'Training400/Non-Glaucoma/n0001': f'{train}/Non-Glaucoma/n0001',
            'REFUGE-Validation400/V0001':
            'REFUGE-Validation400-GT/Disc_Cup_Masks/V0001',
            # Nested once more, as downloads often are.
            'REFUGE-Test400/Test400/T0001':
            'REFUGE-Test-GT/Disc_Cup_Masks/G/T0001',
            'REFUGE-Test400/Test400/T0002':
            'REFUGE-Test-GT/Disc_Cup_Masks/N/T0002'
    }.items():
        save(root / f'{image}.jpg', photograph())
        save(root / f'{mask}.bmp', REFUGE_VALUES)
    return root


def make_reta(root):
    """IDRiD_01 with a vessel mask, IDRiD_55 with the mask withheld."""
    root = Path(root)
    square = photograph((96, 96), (48, 48), 40)
    save(root / 'train/IDRiD_01.jpg', square)
    save(root / 'test/IDRiD_55.jpg', square)
    save_grey(root / 'train_masks/IDRiD_01_vessel.png',
              rectangle(20, 40, 70, 44, (96, 96)))
    return root


def make_drishti(root):
    """One training photograph; three of four experts see DISC, two CUP."""
    base = Path(root, 'Training')
    maps = base / 'GT/drishtiGS_002/SoftMap'
    disc, cup = DISC.astype(np.uint8) * 191, CUP.astype(np.uint8) * 128
    disc[30:40, 50:70] = 64
    save(base / 'Images/GLAUCOMA/drishtiGS_002.png', photograph())
    save(maps / 'drishtiGS_002_ODsegSoftmap.png', disc)
    save(maps / 'drishtiGS_002_cupsegSoftmap.png', cup)
    return Path(root)


MAKERS = dict(
    drive=make_drive,
    idrid=make_idrid,
    ddr=make_ddr,
    refuge=make_refuge,
    reta=make_reta,
    drishti_gs=make_drishti)
