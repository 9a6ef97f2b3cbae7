"""Which files of a folder a dataset takes, and what it says of the others."""
import logging

import pytest

from mbos.datasets.checks import DataError
from mbos.datasets.image_files import find_images


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b'x')


@pytest.mark.parametrize('suffix, names', [
    ('.jpg', ['a.JPG', 'b.jpeg', 'c.JPEG', 'd.jpg']),
    ('.TIF', ['a.tif', 'b.tiff', 'c.TIFF']),
    (['.png', '_fundus.jpg'], ['a.PNG', 'b_fundus.JPEG']),
])
def test_case_and_synonyms_of_suffixes(tmp_path, suffix, names, caplog):
    touch(tmp_path, *names)
    found = find_images(str(tmp_path), suffix, None)
    assert sorted(found.values()) == sorted(names)
    assert not caplog.records


def test_what_is_left_out_is_counted(tmp_path, caplog):
    touch(tmp_path, 'a.jpg', 'b.webp', 'c.HEIC', 'd.heic', '.e.png',
          'below/f.jpg')
    with caplog.at_level(logging.WARNING):
        assert list(find_images(str(tmp_path), '.jpg', None)) == ['a']
    text, = (record.getMessage() for record in caplog.records)
    assert f'left out are 2 .heic, 1 .webp, 1 image(s) in {tmp_path}/below' \
        in text
    with pytest.raises(DataError, match='but .*1 image.* in .*below'):
        find_images(str(tmp_path), '.tif', None)
