"""What a quick start leaves out can be imported, and used, afterwards."""
import subprocess
import sys

LEFT_OUT = """
import sys
from mbos.startup import import_models
import_models()
late = [n for n in ('torch._dynamo', 'scipy.interpolate') if n in sys.modules]
assert not late, late

import torch
double = torch.compile(lambda x: 2 * x, backend='eager')
assert double(torch.ones(1)).item() == 2
assert torch.compiler.disable.__module__ == 'torch.compiler'

from mmseg.models.backbones import beit
assert beit.interpolate.interp1d([0, 1], [0, 4])(0.5) == 2
"""


def test_compiler_and_interpolation_come_when_they_are_used():
    subprocess.run([sys.executable, '-W', 'ignore', '-c', LEFT_OUT],
                   check=True)
