"""mmcv without compiled operators, and what starts and imports leave out."""
import sys
import textwrap

import pytest
import torch
from mmcv import ops
from mmseg.models import build_head

from mbos import mmcv_ops
from mbos.mmcv_ops import MissingOperatorError, MissingOperators
from tests.processes import run_python

STAND_IN = isinstance(sys.modules[mmcv_ops.EXTENSION], MissingOperators)
PSA = dict(type='PSAHead', in_channels=4, channels=2, num_classes=2)


def run(code, *path):
    """Run Python code elsewhere; returns its words and its warnings."""
    program = f'import sys; sys.path[:0] = {list(map(str, path))!r}\n'
    done = run_python('-c', program + textwrap.dedent(code))
    assert done.returncode == 0, done.stderr
    return done.stdout.split(), done.stderr


def test_import_costs_no_torch():
    loaded, _ = run('import mbos.cli; print(*sys.modules)')
    assert 'mbos.cli' in loaded
    assert not {'torch', 'mmcv', 'mmseg', 'numpy', 'cv2', 'PIL', 'argparse'
                } & set(loaded)


def test_compiler_and_interpolation_come_when_they_are_used():
    run('''
        from mbos.startup import import_models
        import_models()
        assert not {'torch._dynamo', 'scipy.interpolate'} & set(sys.modules)
        import torch
        double = torch.compile(lambda x: 2 * x, backend='eager')
        assert double(torch.ones(1)).item() == 2
        assert torch.compiler.disable.__module__ == 'torch.compiler'
        from mmseg.models.backbones import beit
        assert beit.interpolate.interp1d([0, 1], [0, 4])(0.5) == 2
    ''')


def test_configs_of_version_01_register_the_parts():
    """mmcv carries out their ``custom_imports``, which name only ``mbos``."""
    printed, _ = run('''
        import mmcv, mbos
        from mmseg.models import HEADS
        print(HEADS.get('MultiTaskHead').__name__, hasattr(mbos, 'nothing'),
              mbos.datasets.PartialLabelDataset.__name__)
    ''')
    assert printed[-3:] == ['MultiTaskHead', 'False', 'PartialLabelDataset']


def test_no_warning_of_mmcvs_and_mmsegs_at_the_start():
    _, warned = run('''
        import os
        os.environ.update(CUDA_HOME='/nowhere', CUDA_VISIBLE_DEVICES='')
        import mbos.registration
        from mmseg.models import build_loss
        build_loss(dict(type="CrossEntropyLoss"))
    ''')
    for text in ('MMCV will release', 'avg_non_ignore', 'No CUDA runtime'):
        assert text not in warned


@pytest.mark.skipif(not STAND_IN, reason='mmcv-full is installed')
def test_what_needs_an_operator_is_refused_by_name():
    with pytest.raises(MissingOperatorError, match='install_mmcv --full'):
        ops.sigmoid_focal_loss(
            torch.zeros(2, 2), torch.zeros(2, dtype=torch.long))
    assert ops.get_compiler_version() == 'not compiled'
    head = build_head(dict(PSA, mask_size=(4, 4), norm_cfg=dict(type='BN')))
    with pytest.raises(MissingOperatorError, match=r'PSAMask \(.*mmcv-full'):
        mmcv_ops.check_operators(torch.nn.Sequential(head))
    mmcv_ops.check_operators(build_head(dict(PSA, type='CCHead')))


def test_mmcv_full_is_used_where_it_is_installed(tmp_path):
    """It adds a module ``mmcv._ext`` with the operators."""
    package = tmp_path / 'mmcv'
    package.mkdir()
    package.joinpath('__init__.py').touch()
    package.joinpath('_ext.py').write_text('def nms(): return "compiled"\n')
    code = 'import mbos; from mmcv import _ext; print(_ext.nms())'
    assert run(code, tmp_path)[0] == ['compiled']


def test_missing_mmcv_says_what_to_type():
    assert run('''
        import mbos
        sys.path[:] = [p for p in sys.path if 'site-packages' not in p]
        try:
            import mmcv
        except ModuleNotFoundError as error:
            print(error)
    ''')[0][-3:] == ['python', '-m', 'mbos.install_mmcv']
