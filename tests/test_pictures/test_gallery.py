"""The gallery: its pictures, and its page in a browser."""
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbos.io.labels import save_labels
from mbos.pictures.gallery import GalleryImage, file_name, write_gallery
from mbos.tasks import build_tasks
from tests.browser import BROKEN, REFERENCES, ask_page, external_references

TASKS = build_tasks(['vessel', 'odoc'])
NASTY = '<script>alert("1")</script> \'&" #%?'
NAMES = '''[...document.querySelectorAll('.card')].filter((c) => !c.hidden)
    .map((c) => c.querySelector('.name').textContent)'''
LAYERS = '''[...document.querySelectorAll('.card .layer')].map(
    (l) => [l.dataset.task, getComputedStyle(l).display !== 'none'])'''


@pytest.fixture
def images(tmp_path):
    """Four images of which two have labels."""
    found = []
    (tmp_path / 'photographs').mkdir()
    rows = [('b', 0.5, 'left', ['no disc found']), ('a10', 0.25, 'right', []),
            ('a9', float('nan'), 'left', []),
            (NASTY, 1.5, None, ['<b>x</b>', 'dark'])]
    for position, (name, ratio, side, flags) in enumerate(rows):
        photo, labels = str(tmp_path / f'photographs/{position} #.jpg'), {}
        Image.new('RGB', (60, 40), (120, 60, 30)).save(photo)
        for task in ('vessel', 'odoc') if position < 2 else ():
            labels[task] = str(tmp_path / f'out/{task}/{position}.png')
            save_labels(labels[task], np.pad([[1] * 40] * 20, 10))
        measurements = dict(ratio=ratio, side=side)
        found.append(GalleryImage(name, photo, labels, measurements, flags))
    return found


@pytest.fixture
def page(images, tmp_path):
    return write_gallery(str(tmp_path / 'out'), images, TASKS, 'A & "B" <i>')


def test_pictures_are_small_and_kept(images, tmp_path):
    files = tmp_path / 'out/gallery_files'

    def write(size):
        write_gallery(str(tmp_path / 'out'), images, TASKS, longest=size)
        for path in files.iterdir():
            with Image.open(path) as picture:
                assert picture.size == (size, size * 2 // 3)
        return {path.name: path.stat().st_mtime_ns for path in files.iterdir()}

    made = write(30)
    assert len(made) == 4 + 2 * 2 and 'b.vessel.png' in made
    os.utime(images[0].labels['vessel'], (2e9, 2e9))  # written again
    again = write(30)
    assert {n.split('.')[0] for n in made if again[n] != made[n]} == {'b'}
    write(15)


def test_page_is_one_that_opens_from_disk(page, tmp_path):
    text = Path(page).read_text()
    assert not external_references(text)
    assert '<i>' not in text and 'A &amp; &#34;B&#34; &lt;i&gt;' in text
    assert '<script>alert' not in text and '<b>x' not in text
    assert 'Research software, not a medical device' in text
    assert str(tmp_path) not in text, 'the folder can be moved'
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    assert data['columns'] == ['ratio', 'side']
    assert data['images'][2]['values'] == [None, 'left']
    link, = data['images'][0]['links']
    assert link == ['photograph', '../photographs/0%20%23.jpg']


def test_hash_sorts_and_filters(page):
    expected = {
        'sort=ratio': ['a10', 'b', NASTY, 'a9'],
        'sort=ratio&order=desc': [NASTY, 'b', 'a10', 'a9'],
        'sort=side': ['a9', 'b', 'a10', NASTY],
        'flagged=1&order=desc': ['b', NASTY],
        'find=A&sort=nonsense': [NASTY, 'a9', 'a10'],
        '': [NASTY, 'a9', 'a10', 'b'],  # numbers count
    }
    actions = f'''const found = [{NAMES}];
        for (const fragment of {list(expected)}) {{
            location.hash = fragment;
            await new Promise((done) => setTimeout(done, 50));
            found.push({NAMES});
        }}'''
    seen = ask_page(page, 'found', 'find=nothing', actions=actions)
    assert seen == [[], *expected.values()]


def test_overlays_are_toggled_and_images_enlarged(page):
    viewer = '''[
        ...['viewer-name', 'viewer-flags'].map(
            (id) => document.getElementById(id).textContent),
        [...document.querySelectorAll('#viewer-values td')]
            .map((cell) => cell.textContent), location.hash]'''
    seen = ask_page(
        page,
        f'''{{before, layers, first, second: {viewer}, all: {REFERENCES},
            broken: {BROKEN}, wide: document.documentElement.scrollWidth}}''',
        'off=odoc',
        actions=f'''const before = {LAYERS};
            document.querySelector('input[value=odoc]').click();
            document.querySelector('input[value=vessel]').click();
            const layers = {LAYERS};
            document.querySelector('.picture').click();
            const first = {viewer};
            document.getElementById('next').click()''')
    assert seen['before'] == [['vessel', True], ['odoc', False]] * 2
    assert seen['layers'] == [['vessel', False], ['odoc', True]] * 2
    assert seen['first'][:3] == [NASTY, '<b>x</b>dark', ['1.5', '–']]
    assert seen['second'] == ['a9', '', ['–', 'left'], '#off=vessel&open=a9']
    assert not seen['broken'] and len(seen['all']) >= 8
    assert {url.split(':')[0] for url in seen['all']} == {'file', 'data'}
    assert seen['wide'] <= 1200


def test_labels_of_another_size(images, tmp_path):
    Image.new('RGB', (61, 40)).save(tmp_path / 'photographs/1 #.jpg')
    with pytest.raises(ValueError, match=r'1\.png.*40, 60.*1 #\.jpg.*40, 61'):
        write_gallery(str(tmp_path / 'out'), images, TASKS)


def test_file_names():
    assert file_name('IDRiD_01.a-b') == 'IDRiD_01.a-b'
    nasty = [file_name(n) for n in ('a/b', 'a b', 'a_b', '../x', '.x', 'é')]
    assert len(set(nasty)) == 6
    assert all(re.fullmatch(r'[\w.-]+', n, re.A) for n in nasty)
    assert not [n for n in nasty if n.startswith('.')]
