"""tools/generate_pseudo_labels.py, with a tiny network on tiny images."""
import json
import shutil

import numpy as np
import pytest
import torch
from mmcv import ConfigDict
from mmseg.datasets import build_dataset
from PIL import Image

from mbos.apis import Environment, file_sha256, load_config, load_segmentor
from mbos.checkpoints.loading import checkpoint_meta
from mbos.commands.pseudo_labels import main
from mbos.datasets.checks import check_pixels
from mbos.io.labels import read_labels, save_labels
from mbos.pseudo_labels.generation import (find_image_folders,
                                           generate_pseudo_labels,
                                           generator_cfg)
from mbos.zoo import NETWORKS
from tests.processes import run_processes
from tests.test_datasets.conftest import TEST
from tests.utils import tiny_model, tiny_model_cfg

CPU = Environment(torch.device('cpu'))


def member(name, **changes):
    """Config of a dataset of the images in its folder."""
    given = dict(name=name, img_dir=f'{name}/images', img_suffix='.png')
    return dict(type='PartialLabelDataset', pipeline=TEST, **given, **changes)


@pytest.fixture
def setting(tmp_path):
    """Data of two collections, a stage-2 config and a stage-1 checkpoint."""
    rng = np.random.default_rng(0)
    for name, size in dict(ddr=(40, 56), refuge=(48, 48)).items():
        folder = tmp_path / 'data' / name / 'images'
        folder.mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 255, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f'{name}_{i}.png')
    labels = dict(vessel='ddr/v', odoc='ddr/o')
    train = [
        member('ddr'),
        member('ddr', pseudo_dirs=labels, weights=dict(vessel=2.0)),
        member('refuge', pseudo_dirs=dict(vessel='refuge/v'))
    ]
    joint = dict(type='JointDataset', datasets=train)
    cfg = dict(
        data_root=str(tmp_path / 'data'),
        model=tiny_model_cfg(adversarial=True, window=4).to_dict(),
        data=dict(workers_per_gpu=0, train=joint, test=member('refuge')))
    text = '\n'.join(f'{key} = {value!r}' for key, value in cfg.items())
    (tmp_path / 'stage2.py').write_text(text + '\n')
    save_checkpoint(tmp_path / 'stage1.pth', seed=0)
    return tmp_path


def save_checkpoint(path, seed=0, **kwargs):
    """Save a network whose classifiers find something but not everything."""
    torch.manual_seed(seed)
    model = tiny_model(**kwargs)
    model.init_weights()
    for name, parameter in model.named_parameters():
        if 'conv_seg.weight' in name:
            torch.nn.init.normal_(parameter, std=0.5)
    meta = checkpoint_meta(model, tiny_model_cfg(**kwargs).to_dict())
    torch.save(dict(state_dict=model.state_dict(), meta=meta), path)
    return str(path)


def stage2(setting):
    return load_config(str(setting / 'stage2.py'))


def run(setting, checkpoint='stage1.pth', cfg=None, env=CPU, **kwargs):
    """Label; returns the label map of vessels of an image."""
    generate_pseudo_labels(
        cfg or stage2(setting), str(setting / checkpoint), env, **kwargs)
    return label(setting, 'v')


def label(setting, folder):
    return read_labels(str(setting / f'data/ddr/{folder}/ddr_1.png'))


def manifest_of(setting, folder):
    path = setting / f'data/ddr/{folder}/manifest.json'
    return json.loads(path.read_text())


def labels_of(setting):
    """Content of all pseudo labels by path."""
    paths = setting.glob('data/*/?/*.png')
    return {str(path): path.read_bytes() for path in paths}


def test_labels_are_what_the_network_predicts(setting):
    found = run(setting, threshold=0.4)
    model = load_segmentor(tiny_model_cfg(), str(setting / 'stage1.pth'), CPU)
    changes = dict(img_dir='ddr/images', test_mode=True)
    sample = build_dataset(stage2(setting).data.test | changes)[1]
    image, metas = sample['img'][0][None], [sample['img_metas'][0].data]
    with torch.no_grad():
        prob = model.module.simple_test(image, metas)[0]
    assert found.shape == (40, 56)
    np.testing.assert_array_equal(found, prob['vessel'][0] > 0.4)
    disc, cup = prob['odoc'] > 0.4
    expected = np.where(cup, 2, np.where(disc, 1, 0))
    np.testing.assert_array_equal(label(setting, 'o'), expected)
    with Image.open(setting / 'data/ddr/v/ddr_1.png') as image:
        assert image.mode == 'P'
    checkpoint, config = map(str, (setting / 'stage1.pth',
                                   setting / 'stage2.py'))  # yapf: disable
    images, sha256 = ['ddr_0', 'ddr_1', 'ddr_2'], file_sha256(checkpoint)
    assert manifest_of(setting, 'o') == dict(
        task='odoc', threshold=0.4, images=images, config=config,
        checkpoint=checkpoint, checkpoint_sha256=sha256)  # yapf: disable
    check_pixels([build_dataset(stage2(setting).data.train.datasets[1])])


def test_uncertain_pixels_are_ignored(setting):
    sure = run(setting)
    with_margin = run(setting, margin=0.2)
    assert manifest_of(setting, 'v')['margin'] == 0.2
    # within 0.2 of 0.5
    uncertain = run(setting, threshold=0.3) != run(setting, threshold=0.7)
    assert 0 < uncertain.mean() < 1
    np.testing.assert_array_equal(with_margin[uncertain], 255)
    np.testing.assert_array_equal(with_margin[~uncertain], sure[~uncertain])
    with pytest.raises(ValueError, match='threshold is 0.6, margin 0.5'):
        run(setting, threshold=0.6, margin=0.5)


def label_discs(setting, **entry):
    """Discs of ddr and both classes of refuge become ground truth."""
    truth = np.zeros((40, 56), np.uint8)
    truth[5:35, 5:50], truth[:, 53:] = 1, 255
    for i in range(3):
        save_labels(setting / f'data/ddr/OD/ddr_{i}.png', truth)
        save_labels(setting / f'data/refuge/odoc/refuge_{i}.png', truth)
    cfg = stage2(setting)
    ddr, pseudo, refuge = cfg.data.train.datasets
    ddr.ann_dirs = ConfigDict(odoc=dict(path='ddr/OD', classes=['disc']))
    refuge.ann_dirs = ConfigDict(odoc='refuge/odoc')
    pseudo.pseudo_dirs.odoc = dict(path='ddr/o', **entry)
    return cfg, truth


def test_truth_of_some_classes_is_kept(setting):
    """The network only says where in the disc the cup is."""
    run(setting)
    before = label(setting, 'o')
    cfg, truth = label_discs(setting)
    run(setting, cfg=cfg)
    expected = np.where((truth == 1) & (before == 2), 2, truth)
    assert 2 in expected and (before[truth == 0] > 0).any()
    np.testing.assert_array_equal(label(setting, 'o'), expected)
    manifest = manifest_of(setting, 'o')
    assert manifest['truth'] == ['disc'] and 'classes' not in manifest
    assert 'truth' not in manifest_of(setting, 'v')


def test_only_named_classes_are_labelled(setting):
    cfg, truth = label_discs(setting, classes=['disc'])
    run(setting, cfg=cfg)
    np.testing.assert_array_equal(label(setting, 'o'), truth)
    check_pixels([build_dataset(cfg.data.train.datasets[1])])




@pytest.mark.parametrize('member, changes, expected', [
    (None, None, 'give the stage-2 config'),
    (1, dict(pseudo_dirs=dict(odoc=dict(path='ddr/o', classes=['disk']))),
     "'ddr', pseudo_dirs, odoc: Task 'odoc' has the classes disc"),
    (0, dict(ann_dirs=dict(odoc=dict(path='ddr/OD', classes=['disc']))),
     r"no dataset of data.train labels cup of .*classes=\['disc'\]"),
])  # yapf: disable
def test_configs_that_make_no_sense(setting, member, changes, expected):
    cfg = stage2(setting)
    if member is None:
        del cfg.data.train.datasets[1:]
    else:
        cfg.data.train.datasets[member].update(changes)
    with pytest.raises(ValueError, match=expected):
        find_image_folders(cfg)


def test_goes_on_where_it_was(setting):
    run(setting)
    kept = setting / 'data/ddr/v/ddr_0.png'
    lost = setting / 'data/refuge/v/refuge_2.png'
    before = lost.read_bytes()
    save_labels(kept, np.full((40, 56), 1, np.uint8))  # recognisable
    save_labels(setting / 'data/ddr/v/ddr_1.png', np.zeros((8, 8), np.uint8))
    lost.unlink()
    assert run(setting).shape == (40, 56)
    assert read_labels(str(kept)).min() == 1
    assert lost.read_bytes() == before


def test_labels_of_other_origin(setting):
    """Made again if it is known, else not touched without being told to."""
    path, other = setting / 'data/ddr/v/ddr_1.png', setting / 'other.pth'
    save_checkpoint(other, seed=1)
    strange = np.full((40, 56), 7, np.uint8)
    save_labels(path, strange)
    with pytest.raises(ValueError, match='--overwrite'):
        run(setting)
    assert 7 in label(setting, 'v')
    for change in (dict(overwrite=True), dict(checkpoint=other),
                   dict(threshold=0.6), dict(margin=0.1)):  # yapf: disable
        assert 7 not in run(setting, **change)
        save_labels(path, strange)


def test_wrong_checkpoints(setting):
    save_checkpoint(setting / 'lesion.pth', tasks=['lesion'])
    with pytest.raises(ValueError, match="wants pseudo labels of 'vessel'"):
        run(setting, 'lesion.pth')
    save_checkpoint(setting / 'gan.pth', adversarial=True, window=4)
    with pytest.raises(ValueError, match='wrong stage'):
        run(setting, 'gan.pth')
    assert not list(setting.glob('data/*/v'))
    run(setting, 'gan.pth', allow_stage2=True)
    assert len(labels_of(setting)) == 9


def test_network_of_the_checkpoint_wins(setting):
    cfg = stage2(setting)
    cfg.model.backbone.embed_dims = 24
    found = generator_cfg(cfg, str(setting / 'stage1.pth'))
    assert found['backbone']['embed_dims'] == 12
    bare = torch.load(setting / 'stage1.pth')['state_dict']
    torch.save(dict(state_dict=bare), setting / 'bare.pth')
    found = generator_cfg(cfg, str(setting / 'bare.pth'))
    assert found['type'] == 'MultiTaskSegmentor'
    assert found['backbone']['embed_dims'] == 24
    assert 'cross_task_attention' not in found['decode_head']


def test_command_line(setting, monkeypatch, capsys):
    """The report lies beside the checkpoint, but for networks of the package
    in the work directory."""
    truth, package = setting / 'truth', setting / 'package'
    save_labels(truth / 'ddr_0.png', np.ones((40, 56), np.uint8))
    package.mkdir()
    shutil.copy(setting / 'stage1.pth', package)
    monkeypatch.setattr('mbos.zoo.__file__', str(package / '__init__.py'))
    monkeypatch.setitem(NETWORKS, 'tiny', 'stage1.pth')
    monkeypatch.chdir(setting)
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')

    def call(folder, *arguments):
        monkeypatch.setattr('sys.argv', ['x', 'stage2.py', *arguments])
        main()
        path = setting / folder / 'pseudo_label_report.json'
        return json.loads(path.read_text())

    report = call('', 'stage1.pth', '--truth', f'ddr.vessel={truth}')
    assert len(labels_of(setting)) == 9
    assert 'share of pixels' in capsys.readouterr().out
    assert [row['images'] for row in report['folders']] == [3, 3, 3]
    assert report['folders'][0]['images_with_truth'] == 1
    assert call('work_dirs/stage2', 'tiny', '--margin', '0.1')['margin'] == 0.1
    assert list(map(str, package.iterdir())) == [str(package / 'stage1.pth')]


def test_two_processes_share_the_images(setting):
    run(setting)
    alone = labels_of(setting)
    for path in setting.glob('data/*/?/*'):
        path.unlink()

    def work(rank):
        torch.set_num_threads(1)
        run(setting, env=Environment(torch.device('cpu'), rank, 2))

    (setting / 'meet').mkdir()
    run_processes(work, 2, setting / 'meet')
    assert labels_of(setting) == alone
    assert len(list(setting.glob('data/*/?/manifest.json'))) == 3
