"""What is wrong is named by file and remedy, before anything is started."""
import re
import shutil

import pytest
import torch

from tests.tiny_runs import config_of, write_config

TWO = ('vessel', 'lesion')
HEAD = 'decode_head.heads.vessel.conv_seg.weight'
EVAL = ('--eval', 'mIoU')
VIS = ('--vis', '--output_dir', 'o', '--source')


@pytest.fixture
def refuse(runs, tool, tmp_path, capfd):
    """Function that runs a tool, which must say certain words, in order."""
    places = dict(
        ONE=runs.config1, TWO=runs.config2, CHECKPOINT=runs.checkpoint1)

    def run(words, name, *arguments):
        message = tool(name, *(places.get(a, a) for a in arguments))
        assert isinstance(message, str), 'the exit status is not 1'
        shown = capfd.readouterr()
        assert 'Traceback' not in shown.out + shown.err + message
        assert 'Iter [' not in shown.out + shown.err, 'training started'
        assert not (tmp_path / 'work_dirs').exists(), 'work dir is littered'
        assert re.search(words, message, re.DOTALL), message

    return run


# what else can be wrong: test_datasets/test_checks.py
@pytest.mark.parametrize('name, path, words', [
    ('train.py', 'c0_test/images', '--no-validate'),
    ('train.py', 'c0/lesion_pseudo', 'generate_pseudo_labels'),
    ('test.py', 'c0_test/vessel', 'prepare'),
])
def test_data(runs, refuse, tmp_path, name, path, words):
    data = shutil.copytree(runs.data, tmp_path / 'damaged')
    shutil.rmtree(data / path)
    config = write_config(tmp_path / 'cfg.py',
                          config_of(data, TWO, 'pseudo' in path))
    more = ['CHECKPOINT', *EVAL] if name == 'test.py' else []
    refuse(f'{path}.*{words}', name, config, *more)


@pytest.mark.parametrize('words, name, arguments', [
    ('moon.*it has .*c0, c1', 'test.py',
     ('ONE', 'CHECKPOINT', *EVAL, '--datasets', 'moon')),
    ('idrid_od.*it has .*c0, c1', 'test.py', ('ONE', 'CHECKPOINT', '--OD')),
    # of a dataset of which the model lacks the task
    ("'refuge': use vessel, lesion, ddr, idrid, reta",
     'test.py', ('ONE', 'CHECKPOINT', *VIS, 'refuge')),
    ('no_0.*no_1', 'test.py',
     ('ONE', 'CHECKPOINT', *EVAL, '--datasets', 'all', '--cfg-options',
      'test_sets.c0.img_dir=no_0', 'test_sets.c1.img_dir=no_1')),
    ('moon.*unknown task', 'train.py',
     ('ONE', '--cfg-options', 'data.val.0.ann_dirs.moon=c0/vessel')),
    ('no.pth.*not found', 'train.py', ('ONE', '--load-from', 'no.pth')),
    ('mean fundus-light', 'generate_pseudo_labels.py',
     ('TWO', 'fundus_light')),
    ("stage1/iter_4.pth.*'multi_task'.*'adversarial'", 'train.py',
     ('TWO', '--resume-from', 'CHECKPOINT')),
    # said before the data are looked at
    ('pretrain/swin.pth.*Download.*model.pretrained=None', 'train.py',
     ('ONE', '--cfg-options', 'model.pretrained=pretrain/swin.pth',
      'data_root=nowhere')),
])  # yapf: disable
def test_arguments(refuse, words, name, arguments):
    refuse(words, name, *arguments)


@pytest.mark.parametrize('option, change, words', [
    ('--resume-from', lambda content: content['state_dict'].pop(HEAD),
     f'lacks weights: {HEAD}'),
    ('--resume-from', lambda content: content.pop('optimizer'),
     'weights only.*--load-from'),
    ('--resume-from', lambda content: content['optimizer'].clear(),
     'groups of the optimizer generator'),
])
def test_checkpoints_that_cannot_be_continued(runs, refuse, option, change,
                                              words):
    content = torch.load(runs.checkpoint1, weights_only=True)
    change(content)
    torch.save(content, 'changed.pth')
    refuse(f'changed.pth.*{words}', 'train.py', 'ONE', option, 'changed.pth')
