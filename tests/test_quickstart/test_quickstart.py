"""The quickstart: its parts on small examples, and one tiny run of it all."""
import json
import os
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mbos.io import RefusedError
from mbos.io.geometry import make_geometry
from mbos.io.labels import read_labels
from prepare_dataset.record import write_geometry
from quickstart import data
from quickstart.plan import Plan
from quickstart.report import check_goals, goal_lines
from quickstart.steps import Step, StepFailed, StepRunner
from tests.test_prepare_dataset import raw_trees

ROOT = Path(__file__).resolve().parents[2]


def test_goals_are_held_against_dice():
    row = dict(test_set='drive', task='vessel', dice={'stage 2': 0.6})
    rows = [{**row, 'class': 'vessel'}]
    goals = {
        ('drive', 'vessel', 'vessel'): 0.6,
        ('ddr', 'lesion', 'mean'): 0.1
    }
    found = check_goals(rows, goals, 'stage 2')
    assert [g['reached'] for g in found] == [True, False]
    assert goal_lines(found) == [
        'Goal reached: drive, vessel vessel: Dice 0.600, at least 0.60 '
        'expected', 'Goal MISSED: ddr, lesion mean: Dice nothing, at '
        'least 0.10 expected', 'The final model has NOT learnt what it should.'
    ]


def test_hidden_truth_gets_the_prepared_geometry(tmp_path):
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 3, (30, 40), dtype=np.uint8)
    collections, prepared_data = tmp_path / 'c', tmp_path / 'd'
    for task in ('vessel', 'lesion', 'odoc'):
        folder = collections / 'hidden/DDR/test' / task
        folder.mkdir(parents=True)
        Image.fromarray(raw).save(folder / 'a.png')
    prepared = prepared_data / 'DDR-FOVCrop-padding/test'
    write_geometry(prepared,
                   [make_geometry('a', (40, 30), box=(5, 2, 20, 26))])
    counts = data.write_hidden_truth(prepared_data, collections)
    assert counts == {  # lesions are what DDR labels itself
        'DDR-FOVCrop-padding/test/hidden/odoc': 1,
        'DDR-FOVCrop-padding/test/hidden/vessel': 1
    }
    expected = np.zeros((26, 26), np.uint8)
    expected[:, 3:23] = raw[2:28, 5:25]
    np.testing.assert_array_equal(
        read_labels(str(prepared / 'hidden/odoc/a.png')), expected)


def test_gathers_photographs_with_both_masks(tmp_path):
    root = tmp_path / 'IDRiD-FOVCrop-padding'
    for split, kind, name in (('train', 'vessel', 'b.png'),
                              ('train', 'OD', 'b.png'), ('train', 'images',
                                                         'b.jpg'),
                              ('test', 'vessel', 'c.png'), ('test', 'images',
                                                            'c.jpg')):
        path = root / split / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'{split} {kind}')
    written = {'IDRiD-FOVCrop-padding/hidden': 1}  # c has no disc
    assert data.gather_hidden(tmp_path) == written
    files = sorted(
        str(p.relative_to(root / 'hidden'))
        for p in (root / 'hidden').rglob('*') if p.is_file())
    assert files == ['OD/b.png', 'images/b.jpg', 'vessel/b.png']
    assert (root / 'hidden/vessel/b.png').read_text() == 'train vessel'
    assert data.gather_hidden(tmp_path) == written  # may be run again


def add_collections(folder, drive=True):
    """Small collections in the layouts of the owners; a copy of IDRiD has
    more photographs than another one."""
    if drive:
        raw_trees.make_drive(folder / 'DRIVE', [21])
    raw_trees.make_idrid(folder / 'IDRiD_small')
    raw_trees.make_idrid(folder / 'IDRiD')
    for path in (folder / 'IDRiD').rglob('IDRiD_02*'):
        path.unlink()
    raw_trees.make_drishti(folder / 'Drishti-GS_small')
    vessels = folder / 'IDRiD_vessels_AVMapNet/IDRiD_02.png'
    raw_trees.save_grey(vessels, raw_trees.CUP)


def test_finds_real_collections(tmp_path):
    with pytest.raises(RefusedError, match='no such folder'):
        data.find_collections(tmp_path / 'nowhere')
    add_collections(tmp_path, drive=False)
    with pytest.raises(RefusedError, match='no photographs of DRIVE'):
        data.find_collections(tmp_path)
    raw_trees.make_drive(tmp_path / 'DRIVE', [21])
    found = data.find_collections(tmp_path)
    assert {k: (v.folder.name, v.images) for k, v in found.items()} == {
        'DRIVE': ('DRIVE', 1),
        'IDRiD': ('IDRiD_small', 2),  # has more photographs than IDRiD
        'Drishti-GS': ('Drishti-GS_small', 1),
        'IDRiD_vessels': ('IDRiD_vessels_AVMapNet', 1)
    }  # yapf: disable


def test_steps_are_done_once(tmp_path):
    work = tmp_path / 'work'
    log = tmp_path / 'log'

    def run(*names, **kwargs):
        runner = StepRunner(work, **kwargs)
        for name in names:
            code = f'open({str(log)!r}, "a").write("{name} ")'
            runner.run(Step(name[0], name, [sys.executable, '-c', code], log))
        return runner

    run('a', 'b', 'c')
    run('a', 'b', 'c')
    assert log.read_text() == 'a b c '
    run('a', 'b2', 'c')  # another command, and all that follow
    assert log.read_text() == 'a b c b2 c '
    runner = run('a', 'b2', 'c', fresh=True)
    assert log.read_text() == 'a b c b2 c a b2 c '
    assert [row[0]
            for row in runner.times()] == ['step', 'a', 'b2', 'c', 'together']
    failing = Step('d', 'd', [sys.executable, '-c', 'exit(3)'], log)
    with pytest.raises(StepFailed, match='exit code 3'):
        runner.run(failing)
    useless = Step('d', 'd', [sys.executable, '-c', ''], tmp_path / 'no')
    with pytest.raises(StepFailed, match='was not written'):
        runner.run(useless)
    (tmp_path / 'mine').touch()
    with pytest.raises(ValueError, match='was not made by the quickstart'):
        StepRunner(tmp_path)


def test_interrupted_steps_leave_nothing_running(tmp_path):
    """The command gets SIGTERM, is waited for, and ended before this one."""
    child = ('import pathlib, signal, sys, time\n'
             'def stop(*_):\n'
             '    time.sleep(0.5)\n'
             '    pathlib.Path("saved").touch()\n'
             '    sys.exit(75)\n'
             'signal.signal(signal.SIGTERM, stop)\n'
             'pathlib.Path("started").touch()\n'
             'time.sleep(60)\n')
    code = ('import sys\n'
            'from quickstart.steps import run_to_its_end\n'
            f'run_to_its_end([sys.executable, "-c", {child!r}])\n')
    process = subprocess.Popen([sys.executable, '-c', code],
                               cwd=tmp_path,
                               env=dict(os.environ, PYTHONPATH=str(ROOT)),
                               stderr=subprocess.DEVNULL)
    end = time.time() + 60
    while not (tmp_path / 'started').exists() and time.time() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) != 0
    assert (tmp_path / 'saved').exists()


def plan_arguments(tmp_path, **changes):
    unset = dict.fromkeys(
        ('real', 'iters1', 'images', 'val_images', 'test_images'))
    given = dict(
        out=tmp_path / 'out',
        iters2=7,
        skip_single=False,
        from_scratch=False,
        seed=0,
        max_side=1024,
        size=96,
        cfg_options=['a=1'])
    return Namespace(**dict(unset, **dict(given, **changes)))


def test_commands_of_the_real_quickstart(tmp_path):
    add_collections(tmp_path / 'raw')
    plan = Plan(plan_arguments(tmp_path, real=tmp_path / 'raw'))
    assert plan.singles == ['vessel', 'lesion', 'odoc']
    names = [step.name for step in plan.data_steps()]
    assert names == [
        'prepare_dataset.drive', 'prepare_dataset.idrid',
        'prepare_dataset.drishti_gs', 'prepare_vessels', 'hidden'
    ]
    prepared = tmp_path / 'out/data'
    for folder in ('DRIVE-FOVCrop-padding/test/ann',
                   'IDRiD-FOVCrop-padding/hidden/vessel'):
        (prepared / folder).mkdir(parents=True)
    assert plan.test_set_names('stage2') == ['drive', 'hidden_idrid_vessel']
    assert plan.test_set_names('single_lesion') == []
    steps = {step.name: step for step in plan.model_steps()}
    assert list(steps)[:3] == ['stage1', 'pseudo_labels', 'stage2']
    # the lesion model has no test set here
    assert list(steps)[-4:] == [
        'single_vessel', 'single_lesion', 'single_odoc',
        'evaluate_single_vessel'
    ]
    stage2 = steps['stage2']
    assert stage2.output == tmp_path / 'out/stage2/ckpt/iter_7.pth'
    assert 'runner.max_iters=7' in stage2.command
    assert stage2.command[-1] == 'a=1'
    position = stage2.command.index('--load-from')
    assert stage2.command[position + 1] == str(plan.checkpoint('stage1'))


def test_everything_end_to_end(tmp_path):
    command = ('tools/quickstart.sh --out out --size 128 --images 3 '
               '--val-images 1 --test-images 2 --iters1 2 --iters2 1')
    settings = dict(
        MBOS_SETUP='0',
        PYTHON=sys.executable,
        OMP_NUM_THREADS='1',
        CUDA_VISIBLE_DEVICES='')
    done = subprocess.run(['bash', *f'{ROOT}/{command}'.split()],
                          cwd=tmp_path,
                          env=dict(os.environ, **settings),
                          capture_output=True,
                          text=True)
    # nothing can be learnt in three iterations, and it says so
    assert done.returncode == 1, done.stdout[-3000:] + done.stderr[-3000:]
    assert 'The final model has NOT learnt' in done.stdout
    assert 'No ImageNet weights are used' in done.stdout
    report = json.loads((tmp_path / 'out/comparison.json').read_text())
    hidden = {r['test_set'] for r in report['rows'] if r['hidden']}
    assert {'hidden_drive', 'hidden_ddr', 'hidden_refuge'} <= hidden
    for row in report['rows']:
        assert list(row['dice']) == ['constant', 'stage 1', 'stage 2']
        assert all(0 <= v <= 1 for v in row['dice'].values())
    labels = json.loads(
        (tmp_path / 'out/stage1/pseudo_label_report.json').read_text())
    assert len(labels['folders']) == 5
    assert all('Dice' in row for row in labels['folders'])
    text = (tmp_path / 'out/comparison.md').read_text()
    assert '| drive | vessel |' in text
    for page in ('stage1/report.html', 'stage2/report.html'):
        assert (tmp_path / 'out' / page).exists() and f'({page})' in text
