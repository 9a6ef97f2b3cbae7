"""Reading files of tensors without believing them.

A checkpoint is a pickle, which may run code; weights-only loading does not.
But files may claim tensors that are larger than themselves, be packed, or have
flipped bits, which torch does not notice.
"""
import os.path as osp
import re
import zipfile
from collections.abc import Sequence

import torch
from torch import Tensor

from mbos.io import check_regular

_FORBIDDEN = re.compile(r'(?i)Unsupported (?:class|global:?) (?:GLOBAL )?'
                        r'(\S+)')


def read_weights_only(path: str, allowed: Sequence = ()) -> object:
    """Read a file of ``torch.save`` that holds tensors and plain values, and
    what is ``allowed``, as for ``torch.serialization.safe_globals``, onto the
    CPU. A ValueError says what is wrong with another file.
    """
    check_regular(path)
    try:
        _check_archive(path)
        with torch.serialization.safe_globals(list(allowed)):
            content = torch.load(path, map_location='cpu', weights_only=True)
        _check_tensors(content, osp.getsize(path))
        return content
    except Exception as error:  # a damaged file may provoke any of them
        names = _FORBIDDEN.search(str(error))
        text = (f'{path} holds {names[1]}, more than tensors and plain values.'
                ' Loading it could run code, so it is refused: take a file of '
                'weights only, or save the state_dict anew where you trust '
                'the file.') if names else _damaged(
                    path, 'checkpoint of tensors and plain values', error)
        raise ValueError(text) from error


def read_safetensors(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and metadata of a safetensors file, which runs no code."""
    from safetensors import safe_open
    check_regular(path)
    try:
        with safe_open(path, 'pt') as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            return tensors, file.metadata() or {}
    except Exception as error:  # as above
        raise ValueError(_damaged(path, 'safetensors file', error)) from error


def _damaged(path: str, kind: str, error: Exception) -> str:
    return f'{path} is not a whole {kind} ({reason_of(error)}; ' \
        f'{osp.getsize(path)} bytes). Copy it again, or take another file.'


def reason_of(error: Exception) -> str:
    """The first line of an error, or its type where it says nothing, without
    torch's advice to load the file unsafely.
    """
    lines = str(error).split('. In PyTorch 2.6')[0].strip().splitlines()
    text = ''.join(c if c.isprintable() else '?' for c in (lines or [''])[0])
    return (text or type(error).__name__)[:200]


def _check_archive(path: str) -> None:
    """Compare the archive with its checksums, and forbid that it is packed, as
    torch does not. Old files are no archives, and have no checksums.
    """
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = any(e.compress_type != zipfile.ZIP_STORED for e in entries)
        if packed or sum(e.file_size for e in entries) > osp.getsize(path):
            raise ValueError('its archive claims to unpack to more than it is')
        wrong = archive.testzip()
    if wrong is not None:
        raise ValueError(f'the checksum of {wrong} is wrong')


def _check_tensors(content: object, size: int) -> None:
    """Refuse tensors that are not plain, or larger than their file of ``size``
    bytes, since copying them would allocate that.
    """
    todo, seen = [content], set()
    while todo:
        value = todo.pop()
        if isinstance(value, Tensor):
            is_plain = value.layout == torch.strided and not (
                value.is_quantized or value.is_meta)
            if not is_plain or value.numel() * value.element_size() > size:
                raise ValueError(f'it holds a tensor of {tuple(value.shape)}, '
                                 'which is larger than the file, or not plain')
        elif isinstance(value, (dict, list, tuple, set)) \
                and id(value) not in seen:
            seen.add(id(value))
            todo += value.values() if isinstance(value, dict) else value
