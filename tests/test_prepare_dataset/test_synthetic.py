"""Synthetic collections: determinism, and what is refused."""
import hashlib

import pytest

from prepare_dataset.synthetic import generate, main

LITTLE = dict(images=1, val_images=1, test_images=1, size=96, seed=5)


def digest(folder):
    return {
        str(path.relative_to(folder)):
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob('*')) if path.is_file()
    }


def test_what_arguments_change(tmp_path):
    """Neither do workers, nor more images the first ones; seeds do."""
    generate(tmp_path / 'one', workers=2, **LITTLE)
    generate(tmp_path / 'seed', **dict(LITTLE, seed=6))
    one, other = digest(tmp_path / 'one'), digest(tmp_path / 'seed')
    photographs = [n for n in one if n.endswith('_training.tif')]
    assert photographs and all(one[n] != other[n] for n in photographs)
    main([str(tmp_path / 'more'), '--images', '2', '--val-images', '1',
          '--test-images', '1', '--size', '96', '--seed', '5',
          '--workers', '1'])  # yapf: disable
    more = digest(tmp_path / 'more')
    assert 'raw/RETA/train/images/IDRiD_02.jpg' in more
    assert one.items() <= more.items()


def test_what_is_refused(tmp_path):
    for wrong in (dict(images=55), dict(test_images=0), dict(size=64)):
        with pytest.raises(ValueError, match='expected'):
            generate(tmp_path, **dict(LITTLE, **wrong))
    (tmp_path / 'raw/RETA').mkdir(parents=True)
    with pytest.raises(FileExistsError, match='RETA.*another folder'):
        generate(tmp_path, **LITTLE)
