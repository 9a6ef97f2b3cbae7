"""Predicting folders: what is written, going on, and bad input."""
import csv
import errno
import json
import os
import subprocess

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from mbos.apis import load_model, predict
from mbos.checkpoints.loading import checkpoint_meta
from mbos.commands import predict as predict_command
from mbos.inference.folder_run import FolderRun
from mbos.inference.measurements import columns, measure
from mbos.inference.photograph_list import find_photographs
from mbos.inference.predictor import Predictor
from mbos.io import files as io_files
from mbos.zoo import checkpoint_path
from tests.test_inference.test_predictor import photograph, save, settings
from tests.tiny_runs import ROOT, config_of, run_tool, write_config
from tests.utils import TASKS, tiny_model, tiny_model_cfg


@pytest.fixture(scope='module')
def checkpoints(tmp_path_factory):
    """Two checkpoints whose networks answer something."""
    folder = tmp_path_factory.mktemp('checkpoints')
    paths = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = tiny_model()
        for head in model.decode_head.heads.values():
            torch.nn.init.normal_(head.conv_seg.weight)
        meta = checkpoint_meta(model, tiny_model_cfg().to_dict(), settings())
        paths.append(save(folder / f'{seed}.pth', model, meta))
    return paths


@pytest.fixture
def eyes(tmp_path):
    """A folder of three photographs, one in a folder of its own."""
    folder = tmp_path / 'eyes'
    (folder / 'sub').mkdir(parents=True)
    Image.fromarray(photograph()).save(folder / 'a.png')
    Image.fromarray(photograph(90, 140)).save(folder / 'b.bmp')
    turned = Image.fromarray(photograph(100, 120))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(folder / 'sub/a.jpg', exif=exif)
    return folder


def run(monkeypatch, *arguments):
    """Exit status or message of ``tools/predict.py``."""
    left = run_tool(monkeypatch, 'predict.py', *arguments, '--device', 'cpu')
    return 0 if left is None else left


def rows_of(out):
    with open(out / 'measurements.csv', newline='') as file:
        return list(csv.DictReader(file))


def snapshot(out):
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ino)
        for path in out.rglob('*') if path.is_file()
    }


def test_everything_is_written(monkeypatch, tmp_path, eyes, checkpoints):
    out = tmp_path / 'out'
    code = run(monkeypatch, checkpoints[0], eyes, '--out', out,
               '--probabilities', '--batch-size', 2, '--workers', 2)
    assert code == 0
    model = load_model(checkpoints[0], device='cpu')
    tasks = list(model.tasks.values())
    rows = rows_of(out)
    assert [row['image'] for row in rows] == ['a', 'b', 'sub/a']
    assert list(
        rows[0]) == ['image', 'source', 'width', 'height'] + columns(tasks)
    for row in rows:
        result = predict(model, row['source'])
        name, size = row['image'], (int(row['width']), int(row['height']))
        for task in tasks:
            path = out / 'labels' / task.name / f'{name}.png'
            with Image.open(path) as written:
                assert written.mode == 'P' and written.size == size
                labels = np.array(written)
                palette = written.getpalette()
            np.testing.assert_array_equal(labels, result.labels[task.name])
            assert tuple(palette[3:6]) == task.palette[0]
            for of_class, prob in zip(task.classes,
                                      result.probabilities[task.name]):
                values = cv2.imread(
                    str(out / 'probabilities' / task.name / of_class /
                        f'{name}.png'), cv2.IMREAD_UNCHANGED)
                assert values.dtype == np.uint16
                np.testing.assert_allclose(values / 65535, prob, atol=2e-5)
        expected = measure(result.labels, tasks, result.field_of_view.mask)
        for key in ('vessel.density', 'lesion.EX.components',
                    'odoc.disc.vertical_diameter_px'):
            assert float(row[key]) == pytest.approx(expected[key], rel=1e-5)
        with Image.open(out / 'overlays' / f'{name}.jpg') as overlay:
            assert overlay.height > size[1], 'a legend below'
    # upright: the camera was turned
    assert (rows[2]['width'], rows[2]['height']) == ('100', '120')
    known = json.loads((out / 'run.json').read_text())
    assert known['failed'] == [] and len(known['images']) == 3
    assert 'not a medical device' in known['note']
    assert 'not a medical device' in (out / 'README.txt').read_text()
    page = (out / 'gallery.html').read_text()
    assert 'not a medical device' in page and 'sub/a' in page
    assert not list(out.rglob('*.tmp'))


def test_going_on(monkeypatch, tmp_path, eyes, checkpoints, capsys):
    out = tmp_path / 'out'
    arguments = (checkpoints[0], eyes, '--out', out, '--no-gallery')
    assert run(monkeypatch, *arguments) == 0
    before = snapshot(out)
    # one lost, one changed, one new
    (out / 'labels/lesion/b.png').unlink()
    killed = subprocess.Popen(['true'])
    killed.wait()
    (out / f'overlays/b.jpg.{killed.pid}.tmp').write_bytes(b'half')
    (out / f'overlays/b.jpg.{os.getppid()}.tmp').write_bytes(b'being written')
    Image.fromarray(photograph(84, 101)).save(eyes / 'a.png')
    Image.fromarray(photograph()).save(eyes / 'c.png')
    capsys.readouterr()
    assert run(monkeypatch, *arguments) == 0
    said = capsys.readouterr()
    assert '3 photograph(s) predicted, 1 were there' in said.out
    assert '4/4' in said.err
    after = snapshot(out)
    kept = {p for p in before if after.get(p) == before[p]}
    assert {p.relative_to(out / 'labels/vessel').as_posix()
            for p in kept if p.is_relative_to(out / 'labels/vessel')
            } == {'sub/a.png'}  # yapf: disable
    assert [r['image'] for r in rows_of(out)] == ['a', 'b', 'c', 'sub/a']
    assert rows_of(out)[0]['width'] == '101'
    left, = out.rglob('*.tmp')
    assert str(os.getppid()) in left.name
    # other inputs into the same folder: the earlier rows stay, at the end
    other = tmp_path / 'other'
    other.mkdir()
    Image.fromarray(photograph()).save(other / 'a.png')
    assert run(monkeypatch, checkpoints[0], other, *arguments[2:]) == 0
    assert [r['image']
            for r in rows_of(out)] == ['other/a', 'a', 'b', 'c', 'sub/a']


def test_another_checkpoint_is_noticed(monkeypatch, tmp_path, eyes,
                                       checkpoints):
    out = tmp_path / 'out'
    assert run(monkeypatch, checkpoints[0], eyes, '--out', out) == 0
    before = snapshot(out)
    said = run(monkeypatch, checkpoints[1], eyes / 'a.png', '--out', out)
    assert 'holds other predictions' in said
    said = run(monkeypatch, checkpoints[0], eyes, '--out', out, '--flip')
    assert 'flip False instead of True' in said
    assert snapshot(out) == before, 'nothing is touched'
    (tmp_path / 'mine/labels').mkdir(parents=True)
    said = run(monkeypatch, checkpoints[0], eyes, '--out', tmp_path / 'mine')
    assert 'labels but no run.json' in said
    labels = (out / 'labels/vessel/a.png').read_bytes()
    assert run(monkeypatch, checkpoints[1], eyes / 'a.png', '--out', out,
               '--overwrite') == 0
    assert (out / 'labels/vessel/a.png').read_bytes() != labels
    assert [row['image'] for row in rows_of(out)] == ['a']
    assert not (out / 'labels/vessel/b.png').exists()


def test_nothing_outside_is_removed(monkeypatch, tmp_path, eyes, checkpoints):
    """Records name the files to remove, and may come from anybody."""
    out, mine = tmp_path / 'out', tmp_path / 'mine.txt'
    inside = out / 'notes' / 'draft.99999999.tmp'
    assert run(monkeypatch, checkpoints[0], eyes / 'a.png', '--out', out) == 0
    inside.parent.mkdir()
    for path in (mine, inside, out / 'notes.txt'):
        path.write_text('precious')
    (out / 'labels/vessel/a.png.99999999.tmp').write_text('half')
    record = json.loads((out / 'records/a.json').read_text())
    hostile = [dict(record, labels=dict(vessel=path))
               for path in ('../mine.txt', str(mine), 'notes.txt',
                            'labels/../../mine.txt')]  # yapf: disable
    hostile += [dict(record, name='../../mine'), dict(key=1), dict(labels=3)]
    for number, content in enumerate(hostile):
        path = out / f'records/{number}.json'
        path.write_text(json.dumps(content))
    (tmp_path / 'mine.json').write_text('precious')
    assert run(monkeypatch, checkpoints[1], eyes / 'a.png', '--out', out,
               '--overwrite') == 0
    for path in (mine, inside, out / 'notes.txt', tmp_path / 'mine.json'):
        assert path.read_text() == 'precious'
    assert not list((out / 'labels').rglob('*.tmp'))
    assert [row['image'] for row in rows_of(out)] == ['a']


def test_bad_files_are_listed_and_the_rest_is_done(monkeypatch, tmp_path, eyes,
                                                   checkpoints, capsys):
    out = tmp_path / 'out'
    (eyes / 'text.jpg').write_text('Notes on the eye.')
    (eyes / 'half.png').write_bytes((eyes / 'a.png').read_bytes()[:300])
    deep = photograph()[..., 0].astype(np.uint16) * 257
    cv2.imwrite(str(eyes / 'deep.png'), deep)
    noise = np.random.default_rng(0).integers(60, 255, (90, 90, 3), np.uint8)
    Image.fromarray(noise).save(eyes / 'no_eye.png')
    code = run(monkeypatch, checkpoints[0], eyes, '--out', out)
    assert code == 1
    said = capsys.readouterr().out
    assert '2 file(s) could not be read' in said
    assert 'text.jpg: is not a picture' in said and 'half.png: cannot' in said
    rows = {row['image']: row for row in rows_of(out)}
    assert set(rows) == {'a', 'b', 'deep', 'no_eye', 'sub/a'}
    assert 'no_colour' in rows['deep']['flags']
    assert 'no_field_of_view' in rows['no_eye']['flags']
    assert 'no_field_of_view: nothing in it looks like' in said
    record = json.loads((out / 'records/deep.json').read_text())
    assert record['notes'] == ['16 bits reduced to 8']
    failed = json.loads((out / 'run.json').read_text())['failed']
    assert [os.path.basename(f['source'])
            for f in failed] == ['half.png', 'text.jpg']


def test_config_of_another_checkpoint(monkeypatch, tmp_path, eyes,
                                      checkpoints):
    config = write_config(tmp_path / 'config.py',
                          config_of(tmp_path, ['vessel', 'odoc']))
    out = tmp_path / 'out'
    said = run(monkeypatch, config, checkpoints[0], eyes, '--out', out)
    assert 'was trained for the tasks' in said and not out.exists()
    fitting = write_config(tmp_path / 'fits.py', config_of(tmp_path, TASKS))
    assert run(monkeypatch, fitting, checkpoints[0], eyes, '--out', out) == 0
    said = run(monkeypatch, '-', tmp_path / 'none.pth', eyes, '--out', out)
    assert 'not found' in said


def test_full_disk(monkeypatch, tmp_path, eyes, checkpoints, capsys):
    """What was done is whole, and the next run goes on."""
    out = tmp_path / 'out'
    real, calls = io_files.save_whole, []

    def full_after_a_while(path, write):
        if path.endswith(('.png', '.jpg')):
            calls.append(path)
            if len(calls) > 5:  # in the middle of the second photograph
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        real(path, write)

    monkeypatch.setattr(io_files, 'save_whole', full_after_a_while)
    arguments = (checkpoints[0], eyes, '--out', out, '--no-gallery',
                 '--workers', 1)
    said = run(monkeypatch, *arguments)
    assert 'No space left on device' in said
    assert [row['image'] for row in rows_of(out)] == ['a']
    assert not list(out.rglob('*.tmp'))
    monkeypatch.setattr(io_files, 'save_whole', real)
    capsys.readouterr()
    assert run(monkeypatch, *arguments) == 0
    assert '2 photograph(s) predicted, 1 were there' in capsys.readouterr().out
    assert len(rows_of(out)) == 3


def test_interruption_keeps_what_is_done(monkeypatch, tmp_path, eyes,
                                         checkpoints):
    out = tmp_path / 'out'
    predictor = Predictor(load_model(checkpoints[0], device='cpu'))
    found = find_photographs([str(eyes / 'a.png'), str(eyes / 'b.bmp')])

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FolderRun(predictor, checkpoints[0], str(out))(found, stop)
    assert [row['image'] for row in rows_of(out)][0] == 'a'
    summary = FolderRun(predictor, checkpoints[0], str(out))(found)
    assert summary.skipped >= 1 and len(summary.records) == 2


@pytest.mark.parametrize('given, said', [
    (['empty'], 'no photographs in it'),
    (['missing.jpg'], 'no such file or folder'),
    (['eyes', '--threshold', 'fovea=0.5'], "unknown task 'fovea'"),
    (['eyes', '--threshold', 'odoc.rim=0.5'], "no class 'rim'"),
    (['eyes', '--threshold', 'odoc=0.5', 'odoc.cup=0.4'], "no class ''"),
    (['eyes', '--threshold', 'odoc.cup=1'], 'below 1'),
    (['eyes', '--batch-size', '0'], 'batch_size is 0'),
    (['eyes', '--mode', 'slide', '--window', '32', '--stride', '64'
      ], 'larger than'),
])
def test_refused_before_anything_is_written(monkeypatch, tmp_path, eyes,
                                            checkpoints, given, said):
    (tmp_path / 'empty').mkdir()
    monkeypatch.chdir(tmp_path)
    assert said in run(monkeypatch, checkpoints[0], *given, '--out', 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('given, config, checkpoint, inputs', [
    ('eyes', None, 'fundus-light', ['eyes']),
    ('a.jpg b.jpg', None, 'fundus-light', ['a.jpg', 'b.jpg']),
    ('fundus-light eyes', None, 'fundus-light', ['eyes']),
    ('m.pth eyes', None, 'm.pth', ['eyes']),
    ('m.safetensors eyes b', None, 'm.safetensors', ['eyes', 'b']),
    ('c.py m.pth eyes', 'c.py', 'm.pth', ['eyes']),
    ('- m.pth eyes', None, 'm.pth', ['eyes']),
])
def test_what_paths_mean(given, config, checkpoint, inputs):
    args = predict_command.parse_args([*given.split(), '--out', 'o'])
    assert (args.config, args.inputs) == (config, inputs)
    assert args.checkpoint == checkpoint_path(checkpoint)


@pytest.mark.parametrize('given, said', [
    ('m.pth', 'at least one'),
    ('fundus-ligth eyes', 'Did you mean fundus-light?'),
    ('eyes --threshold vessel=x', 'argument --threshold'),
    ('c.py m.pth', 'at least one'),
    ('c.py', 'at least one'),
    ('README.md eyes', 'README.md: neither a photograph'),
    ('m.pth eyes --backend onnxruntime --device cuda', 'runs on the CPU'),
    ('m.pth eyes --cfg-options a=1', '--cfg-options changes a config'),
])
def test_wrong_usage(monkeypatch, tmp_path, capsys, given, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'README.md').write_text('text')
    with pytest.raises(SystemExit) as left:
        predict_command.parse_args([*given.split(), '--out', 'o'])
    assert left.value.code == 2 and said in capsys.readouterr().err


def test_photographs_of_any_name(monkeypatch, tmp_path):
    """Also in a pattern that the shell expands, which may hold anything."""
    monkeypatch.chdir(tmp_path)
    for name in ('a.txt', 'b.jpg'):
        (tmp_path / name).write_text('text')
    with open('eye', 'wb') as file:
        Image.fromarray(photograph()).save(file, 'png')
    for inputs in (['a.txt', 'b.jpg'], ['eye'], ['eye', 'folder']):
        args = predict_command.parse_args([*inputs, '--out', 'o'])
        assert args.inputs == inputs


def test_thresholds_and_device(monkeypatch, tmp_path, eyes, checkpoints):
    out = tmp_path / 'out'
    assert run(monkeypatch, checkpoints[0], eyes / 'a.png', '--out', out,
               '--threshold', 'vessel=0', 'odoc.cup=0.99') == 0
    row, = rows_of(out)
    assert float(row['vessel.density']) > 0.99
    known = json.loads((out / 'run.json').read_text())
    said = {task['name']: task['threshold'] for task in known['tasks']}
    assert said == dict(vessel=0.0, lesion=0.5, odoc=dict(disc=0.5, cup=0.99))
    monkeypatch.setattr('torch.cuda.device_count', lambda: 0)
    said = run_tool(monkeypatch, 'predict.py', checkpoints[0], eyes, '--out',
                    out, '--device', 'cuda:0')
    assert 'There is no device cuda:0' in said


def test_the_tool_is_told_of_in_the_docs():
    """Every option of the tool stands in docs/prediction.md."""
    text = (ROOT / 'docs/prediction.md').read_text()
    source = (ROOT / 'mbos/commands/predict.py').read_text()
    options = {
        word
        for word in source.replace("'", ' ').replace(',', ' ').split()
        if word.startswith('--') and word != '--'
    }
    assert options and not {o for o in options if o not in text}
