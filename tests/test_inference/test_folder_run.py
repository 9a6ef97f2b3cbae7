"""Predicting folders: what is written, going on, and bad input."""
import csv
import errno
import json

import cv2
import numpy as np
import pytest
from PIL import Image

from mbos.apis import load_model, predict
from mbos.commands import predict as predict_command
from mbos.inference.measurements import columns, measure
from mbos.io import files as io_files
from mbos.zoo import checkpoint_path
from tests.test_inference.test_predictor import photograph, save_network
from tests.tiny_runs import config_of, run_tool, write_config
from tests.utils import TASKS


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Two checkpoints whose networks answer something."""
    folder = tmp_path_factory.mktemp('checkpoints')
    return [save_network(folder / f'{i}.pth', seed=i)[1] for i in (0, 1)]


@pytest.fixture
def eyes(tmp_path):
    """A folder of three photographs, one in a folder of its own."""
    folder = tmp_path / 'eyes'
    save(folder / 'a.png')
    save(folder / 'b.bmp', 90, 140)
    exif = Image.Exif()
    exif[0x0112] = 6
    save(folder / 'sub/a.jpg', 100, 120, exif=exif)
    return folder


def save(path, *size, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(*size)).save(path, **options)


@pytest.fixture
def out(tmp_path):
    return tmp_path / 'out'


@pytest.fixture
def run(monkeypatch, out):
    """Function that runs ``tools/predict.py``; exit status or message."""
    fixed = 'predict.py', '--out', out, '--device', 'cpu'
    return lambda *more: run_tool(monkeypatch, *fixed, *more) or 0


def rows_of(out):
    with open(out / 'measurements.csv', newline='') as file:
        return list(csv.DictReader(file))


def names_of(out):
    return [row['image'] for row in rows_of(out)]


def snapshot(out):
    files = {p: p.stat() for p in out.rglob('*') if p.is_file()}
    return {p: (s.st_mtime_ns, s.st_ino) for p, s in files.items()}


def test_everything_is_written(run, out, eyes, checkpoints):
    assert run(checkpoints[0], eyes, '--probabilities', '--workers', 2) == 0
    model = load_model(checkpoints[0], device='cpu')
    tasks = list(model.tasks.values())
    rows = rows_of(out)
    assert names_of(out) == ['a', 'b', 'sub/a']
    head = ['image', 'source', 'width', 'height', *columns(tasks)]
    assert list(rows[0]) == head
    for row in rows:
        result = predict(model, row['source'])
        name, size = row['image'], (int(row['width']), int(row['height']))
        for task in tasks:
            labels = result.labels[task.name]
            of_task = zip(task.classes, result.probabilities[task.name])
            with Image.open(out / f'labels/{task.name}/{name}.png') as written:
                assert written.mode == 'P' and written.size == size
                np.testing.assert_array_equal(written, labels)
                assert tuple(written.getpalette()[3:6]) == task.palette[0]
            for of_class, prob in of_task:
                path = out / f'probabilities/{task.name}/{of_class}/{name}.png'
                values = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
                assert values.dtype == np.uint16
                np.testing.assert_allclose(values / 65535, prob, atol=2e-5)
        expected = measure(result.labels, tasks, result.field_of_view)
        for key in 'vessel.density', 'odoc.disc.vertical_diameter_px':
            assert float(row[key]) == pytest.approx(expected[key], rel=1e-5)
        with Image.open(out / 'overlays' / f'{name}.jpg') as overlay:
            assert overlay.height > size[1], 'a legend below'
    # upright: the camera was turned
    assert (rows[2]['width'], rows[2]['height']) == ('100', '120')
    known = json.loads((out / 'run.json').read_text())
    assert known['failed'] == [] and len(known['images']) == 3
    for file in ('run.json', 'README.txt', 'gallery.html'):
        assert 'not a medical device' in (out / file).read_text()
    assert 'lesion: 1 EX, 2 HE' in (out / 'README.txt').read_text()
    assert 'sub/a' in (out / 'gallery.html').read_text()


def test_going_on(run, out, tmp_path, eyes, checkpoints, capsys):
    assert run(checkpoints[0], eyes, '--no-gallery') == 0
    before = snapshot(out)
    # one lost, one changed, one new
    (out / 'labels/lesion/b.png').unlink()
    (out / 'overlays/b.jpg.99999999.tmp').write_bytes(b'half')
    save(eyes / 'a.png', 84, 101)
    save(eyes / 'c.png')
    assert run(checkpoints[0], eyes, '--no-gallery') == 0
    assert '3 photograph(s) predicted, 1 were there' in capsys.readouterr().out
    after = snapshot(out)
    kept = {p for p in before if after.get(p) == before[p]}
    assert {p.name for p in kept if 'vessel' in p.parts} == {'a.png'}
    assert names_of(out) == ['a', 'b', 'c', 'sub/a']
    assert rows_of(out)[0]['width'] == '101'
    assert not list(out.rglob('*.tmp'))
    # other inputs into the same folder: the earlier rows stay, at the end
    save(tmp_path / 'other/a.png')
    assert run(checkpoints[0], tmp_path / 'other', '--no-gallery') == 0
    assert names_of(out) == ['other/a', 'a', 'b', 'c', 'sub/a']


def test_another_checkpoint_is_noticed(run, out, tmp_path, eyes, checkpoints):
    """Records may come from anybody, and labels may be the user's own, so
    nothing outside of what was written is removed."""
    inside = out / 'notes' / 'draft.99999999.tmp'
    mine = [tmp_path / 'mine.txt', inside, out / 'notes.txt', out / 'labels/a']
    for path in mine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('precious')
    assert "checkpoint 'None'" in run(checkpoints[0], eyes)
    assert run(checkpoints[0], eyes, '--overwrite') == 0
    before = snapshot(out)
    assert 'checkpoint' in run(checkpoints[1], eyes / 'a.png')
    assert 'flip False instead' in run(checkpoints[0], eyes, '--flip')
    assert snapshot(out) == before, 'nothing is touched'
    labels = (out / 'labels/vessel/a.png').read_bytes()
    (out / 'labels/vessel/a.png.99999999.tmp').write_text('half')
    record = json.loads((out / 'records/a.json').read_text())
    outside = dict(vessel='../mine.txt')
    hostile = dict(labels=outside), dict(name='../../mine'), dict(labels=3)
    for number, content in enumerate([record | h for h in hostile] + [{}]):
        (out / f'records/{number}.json').write_text(json.dumps(content))
    assert run(checkpoints[1], eyes / 'a.png', '--overwrite') == 0
    assert {path.read_text() for path in mine} == {'precious'}
    assert not list((out / 'labels').rglob('*.tmp'))
    assert (out / 'labels/vessel/a.png').read_bytes() != labels
    assert not (out / 'labels/vessel/b.png').exists()
    assert names_of(out) == ['a']


def test_bad_files_are_listed_and_the_rest_is_done(run, out, eyes, checkpoints,
                                                   capsys):
    (eyes / 'text.jpg').write_text('Notes on the eye.')
    (eyes / 'half.png').write_bytes((eyes / 'a.png').read_bytes()[:300])
    deep = photograph()[..., 0].astype(np.uint16) * 257
    cv2.imwrite(str(eyes / 'deep.png'), deep)
    noise = np.random.default_rng(0).integers(60, 255, (90, 90, 3), np.uint8)
    Image.fromarray(noise).save(eyes / 'no_eye.png')
    assert run(checkpoints[0], eyes) == 1
    said = capsys.readouterr().out
    assert '2 file(s) could not be read' in said
    assert 'text.jpg: is not a picture' in said and 'half.png: cannot' in said
    rows = {row['image']: row for row in rows_of(out)}
    assert set(rows) == {'a', 'b', 'deep', 'no_eye', 'sub/a'}
    assert 'no_colour' in rows['deep']['flags']
    assert 'no_field_of_view' in rows['no_eye']['flags']
    assert 'no_field_of_view (see docs/measurements.md): 1 ' in said
    record = json.loads((out / 'records/deep.json').read_text())
    assert record['notes'] == ['16 bits reduced to 8']
    failed = json.loads((out / 'run.json').read_text())['failed']
    assert [f['source'][-8:] for f in failed] == ['half.png', 'text.jpg']


def test_full_disk(monkeypatch, run, out, eyes, checkpoints, capsys):
    """What was done is whole, and the next run goes on, with the same names:
    those of a file name that differs in its suffix alone keep apart."""
    save(eyes / 'a.jpg', 80, 90)
    real, calls = io_files.save_whole, []

    def full_after_a_while(path, write):
        if path.endswith(('.png', '.jpg')):
            calls.append(path)
            if len(calls) > 5:  # in the middle of the second photograph
                raise OSError(errno.ENOSPC, 'No space left on device', path)
        real(path, write)

    arguments = (checkpoints[0], eyes, '--no-gallery', '--workers', 1)
    with monkeypatch.context() as patch:
        patch.setattr(io_files, 'save_whole', full_after_a_while)
        assert 'No space left on device' in run(*arguments)
    assert names_of(out) == ['eyes/a'] and not list(out.rglob('*.tmp'))
    assert run(*arguments) == 0
    assert '3 photograph(s) predicted, 1 were there' in capsys.readouterr().out
    assert names_of(out) == ['eyes/a', 'eyes/a_2', 'b', 'sub/a']
    for name, size in ('eyes/a', (90, 80)), ('eyes/a_2', (100, 84)):
        assert Image.open(out / f'labels/vessel/{name}.png').size == size


@pytest.mark.parametrize('given, said', [
    ('CHECKPOINT empty', 'no photographs found'),
    ('CHECKPOINT missing.jpg', 'missing.jpg: no such file'),
    ('CHECKPOINT eyes --threshold fovea=0.5', "unknown task 'fovea'"),
    ('CHECKPOINT eyes --threshold odoc=0.5 odoc.cup=0.4', "no class ''"),
    ('CHECKPOINT eyes --device cuda:99', 'There is no device cuda:99'),
    ('CHECKPOINT eyes --mode slide --window 10', 'window is 10'),
    ('CHECKPOINT eyes --window 64', 'add --mode slide'),
    ('two.py CHECKPOINT eyes', 'was trained for other tasks'),
    ('none.pth eyes', 'none.pth: No such file'),
    ('head.onnx eyes', 'head.onnx: neither a photograph nor'),
    ('two.py CHECKPOINT', 'at least one'),
    ('eyes --threshold vessel=x', 'argument --threshold'),
    ('CHECKPOINT eyes --backend onnxruntime --device cuda', 'on the CPU'),
    ('CHECKPOINT eyes --cfg-options a=1', '--cfg-options needs a CONFIG'),
])
def test_refused_before_anything_is_written(monkeypatch, tmp_path, eyes, run,
                                            out, checkpoints, given, said,
                                            capsys):
    write_config(tmp_path / 'two.py', config_of(tmp_path, ['vessel', 'odoc']))
    (tmp_path / 'head.onnx').write_bytes(b'\x08\x08 no picture')
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path)
    left = run(*given.replace('CHECKPOINT', checkpoints[0]).split())
    assert said in (capsys.readouterr().err if left == 2 else left)
    assert not out.exists()


def test_config_and_thresholds(run, out, tmp_path, eyes, checkpoints):
    fitting = write_config(tmp_path / 'fits.py', config_of(tmp_path, TASKS))
    assert run(fitting, checkpoints[0], eyes / 'a.png', '--threshold',
               'vessel=0', 'odoc.cup=0.99') == 0
    assert float(rows_of(out)[0]['vessel.density']) > 0.99
    known = json.loads((out / 'run.json').read_text())['options']['threshold']
    assert known['vessel'] == dict(vessel=0.0)
    assert known['odoc'] == dict(disc=0.5, cup=0.99)


@pytest.mark.parametrize('given, config, checkpoint, inputs', [
    ('a.jpg b.jpg', None, 'fundus-light', ['a.jpg', 'b.jpg']),
    ('fundus-light eyes', None, 'fundus-light', ['eyes']),
    ('m.safetensors eyes b', None, 'm.safetensors', ['eyes', 'b']),
    ('c.py m.pth eyes', 'c.py', 'm.pth', ['eyes']),
])
def test_what_paths_mean(given, config, checkpoint, inputs):
    args = predict_command.parse_args([*given.split(), '--out', 'o'])
    assert (args.config, args.inputs) == (config, inputs)
    assert args.checkpoint == checkpoint_path(checkpoint)
