"""Raw trees with something wrong: named, and the rest is prepared."""
import gzip
import shutil

import numpy as np
import pytest
import raw_trees
from PIL import Image

from prepare_dataset import aria, ddr, drishti_gs, drive, idrid, refuge, stare
from prepare_dataset.cli import main

DDR = 'DDR-dataset/lesion_segmentation'
TRUTH = 'A. Segmentation/2. All Segmentation Groundtruths/a. Training Set'


def command(module, raw, out, *options):
    """Exit code of a collection's command."""
    arguments = [str(raw), str(out), '--workers', '1', *options]
    return main(module.COLLECTION, module.prepare, '', argv=arguments)


def stems(out, folder):
    return sorted(p.stem for p in (out / folder).glob('*'))


def truncate(path):
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


@pytest.mark.parametrize('missing, text', [
    ('train/label/MA', 'train/label/MA not found'),
    ('train/label/MA/007-1774-100.tif', '007-1774-100.tif is missing'),
])
def test_missing_folder_or_file_of_a_lesion(tmp_path, capsys, missing, text):
    raw = raw_trees.make_ddr(tmp_path / 'raw')
    path = raw / DDR / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    out = tmp_path / 'out'
    assert command(ddr, raw, out) == 1
    shown = capsys.readouterr().out
    errors = [line for line in shown.splitlines() if 'ERROR' in line]
    assert len([line for line in errors if text in line]) == 1
    assert 'train: 0 photographs found, 383 expected' in shown
    assert 'val: 1 photographs found, 149 expected; 1 prepared' in shown
    for split in ('val', 'test'):
        assert stems(out, f'DDR-FOVCrop-padding/{split}/ann')
    assert not stems(out, 'DDR-FOVCrop-padding/train/images')


def other_size(path):
    raw_trees.save_grey(path, np.zeros((50, 60), bool))


def third_value(path):
    values = np.zeros(raw_trees.SIZE[::-1], np.uint8)
    values[0, :2] = 7, 255
    raw_trees.save(path, values)


@pytest.mark.parametrize('file, spoil, text', [
    ('train/image/007-1774-100.jpg', truncate, 'cannot be read'),
    ('train/label/HE/007-1774-100.tif', truncate, 'cannot be read'),
    ('train/label/HE/007-1774-100.tif', other_size, 'the mask is 60x50'),
    ('train/label/HE/007-1774-100.tif', third_value, 'found 0, 7, 255'),
])
def test_bad_file(tmp_path, capsys, file, spoil, text):
    raw = raw_trees.make_ddr(tmp_path / 'raw')
    spoil(raw / DDR / file)
    out = tmp_path / 'out'
    assert command(ddr, raw, out) == 1
    errors = [
        line for line in capsys.readouterr().out.splitlines()
        if 'ERROR' in line
    ]
    assert len(errors) == 1
    assert file in errors[0] and text in errors[0]
    assert stems(out, 'DDR-FOVCrop-padding/val/ann')
    assert not list((out / 'DDR-FOVCrop-padding/train').rglob('*.*'))
    assert {p.name for p in tmp_path.iterdir()} == {'raw', 'out'}


def test_unknown_value_in_refuge(tmp_path):
    raw = raw_trees.make_refuge(tmp_path / 'raw')
    third_value(raw / 'REFUGE-Test-GT/Disc_Cup_Masks/G/T0001.bmp')
    summary = refuge.prepare(raw, tmp_path / 'out', workers=1)
    assert [
        'T0001.bmp' in e and '0, 128 and 255' in e for e in summary.errors
    ] == [True]
    assert stems(tmp_path / 'out',
                 'REFUGE-FOVCrop-padding/test/ann') == ['T0002']


def test_truncated_gzip_and_label_without_image(tmp_path):
    raw = tmp_path / 'STARE'
    for stem in ('im0001', 'im0002', 'im0003'):
        for folder, dot in (('stare-images', ''), ('labels-ah', '.ah')):
            path = raw / folder / f'{stem}{dot}.ppm'
            grey = raw_trees.rectangle(40, 46, 80, 50)
            raw_trees.save(
                path,
                raw_trees.photograph() if not dot else grey.astype(np.uint8) *
                255)
            path.with_suffix('.ppm.gz').write_bytes(
                gzip.compress(path.read_bytes()))
            path.unlink()
    truncate(raw / 'stare-images/im0001.ppm.gz')
    (raw / 'stare-images/im0002.ppm.gz').unlink()
    summary = stare.prepare(raw, tmp_path / 'out', workers=1)
    assert len(summary.errors) == 2
    for name, text in (('im0001.ppm.gz', 'cannot be read'),
                       ('im0002.ah.ppm.gz', 'no photograph im0002')):
        assert [e for e in summary.errors if name in e and text in e]
    assert stems(tmp_path / 'out', 'STARE-FOVCrop-padding/ann') == ['im0003']


@pytest.mark.parametrize('module, make, missing, text', [
    (drive, raw_trees.make_drive, 'training/1st_manual', '1st_manual'),
    (refuge, raw_trees.make_refuge, 'REFUGE-Test-GT', 'REFUGE-Test-GT'),
    (drishti_gs, raw_trees.make_drishti, 'Training/GT', 'Training/GT'),
])
def test_missing_truth_folder(tmp_path, module, make, missing, text):
    raw = make(tmp_path / 'raw')
    shutil.rmtree(raw / missing)
    summary = module.prepare(raw, tmp_path / 'out', workers=1)
    assert len(summary.errors) == 1 and text in summary.errors[0]


def test_aria_without_one_group(tmp_path):
    raw = tmp_path / 'ARIA'
    for group in 'ac':
        raw_trees.save(raw / f'aria_{group}_markups/aria_{group}_1.tif',
                       raw_trees.photograph())
        raw_trees.save_grey(
            raw / f'aria_{group}_markup_vessel/aria_{group}_1_BDP.tif',
            raw_trees.rectangle(40, 46, 80, 50))
    summary = aria.prepare(raw, tmp_path / 'out', workers=1)
    assert ['aria_d_markups' in e for e in summary.errors] == [True]
    assert stems(tmp_path / 'out',
                 'ARIA-FOVCrop-padding/ann') == ['aria_a_1', 'aria_c_1']


def test_idrid_without_the_folder_of_a_lesion_nobody_has(tmp_path):
    raw = raw_trees.make_idrid(tmp_path / 'raw')
    shutil.rmtree(raw / TRUTH / '4. Soft Exudates')
    summary = idrid.prepare(raw, tmp_path / 'out', workers=1)
    assert summary.ok
    notes = [n for n in summary.splits['train'].notes if 'Soft' in n]
    assert len(notes) == 1 and 'no photograph has SE' in notes[0]
    path = 'out/IDRiD-FOVCrop-padding/train/ann/IDRiD_01.png'
    with Image.open(tmp_path / path) as image:
        assert np.unique(np.array(image)).tolist() == [0, 1, 2, 4]


def test_idrid_without_discs_or_without_lesions(tmp_path):
    raw = raw_trees.make_idrid(tmp_path / 'raw')
    shutil.rmtree(raw / TRUTH / '5. Optic Disc')
    out = tmp_path / 'out'
    summary = idrid.prepare(raw, out, workers=1)
    assert ['5. Optic Disc' in e for e in summary.errors] == [True]
    assert len(stems(out, 'IDRiD-FOVCrop-padding/train/ann')) == 2
    assert not stems(out, 'IDRiD-FOVCrop-padding/train/OD')
    for folder in idrid.LESIONS.values():
        shutil.rmtree(raw / TRUTH / folder)
    summary = idrid.prepare(raw, out, workers=1)
    assert ['no lesion masks found' in e for e in summary.errors] == [True]


def test_missing_masks_among_the_originals_of_idrid(tmp_path, monkeypatch):
    raw = raw_trees.make_idrid(tmp_path / 'raw')
    # As if IDRiD published two photographs of this size and two MA masks.
    monkeypatch.setattr(idrid, 'SIZE', raw_trees.SIZE)
    monkeypatch.setitem(idrid.PHOTOGRAPHS, 'train', 2)
    for lesion, count in dict(EX=2, HE=1, SE=1, MA=2, OD=2).items():
        monkeypatch.setitem(idrid.MASKS, lesion, dict(train=count))
    errors = idrid.find(raw, 'train').problems
    assert ['1. Microaneurysms: holds 1 of 2 masks' in e
            for e in errors] == [True]


def test_what_is_there_is_not_overwritten(tmp_path):
    raw = raw_trees.make_ddr(tmp_path / 'raw')
    out = tmp_path / 'out'
    assert command(ddr, raw, out) == 0
    mine = out / 'DDR-FOVCrop-padding/train/ann/007-1774-100.png'
    raw_trees.save(mine, np.full((85, 85), 3, np.uint8))
    before = mine.read_bytes()
    # A missing image is made again, the label is kept all the same.
    (out / 'DDR-FOVCrop-padding/train/images/007-1774-100.jpg').unlink()
    assert command(ddr, raw, out) == 0
    assert mine.read_bytes() == before
    assert stems(out, 'DDR-FOVCrop-padding/train/images')
    assert command(ddr, raw, out, '--force') == 0
    assert mine.read_bytes() != before
