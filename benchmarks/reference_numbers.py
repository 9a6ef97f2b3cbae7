"""The published release's numbers on a device, as the tests have them on CPU.

    python -m benchmarks.reference_numbers --device cuda

Logits, losses and gradients of a small network with the release's weights
(tests/data/golden), in float64 and float32, TF32 off. Exit status 1 if one is
further off than the tests allow.
"""
import sys
from collections.abc import Iterator, Sequence

import numpy as np
import torch

import mbos.registration  # noqa: F401
from mbos.commands.options import make_parser
from mbos.models.multi_task_segmentor import total_loss
from mbos.tasks import BUILTIN_TASKS
from tests.golden import image, load, load_release, tolerance_of
from tests.utils import make_meta, stack_planes, tiny_model

NAME = 'stage1_tiny'


def relative_error(actual: torch.Tensor, expected: np.ndarray) -> float:
    """Largest difference, over the largest expected value."""
    actual = actual.detach().double().cpu().numpy()
    return float(np.abs(actual - expected).max() / np.abs(expected).max())


def errors(device: str, dtype: torch.dtype) -> Iterator[tuple[str, float]]:
    """What is compared, and its relative error."""
    data, names = load(NAME), list(BUILTIN_TASKS)
    model = load_release(tiny_model(), NAME, int(data['seed']))
    model = model.to(device, dtype).eval()
    with torch.no_grad():
        found = model.encode_decode(
            image(data['eval/img'], dtype).to(device), [])
    for task, logits in model.split(found).items():
        yield f'logits of {task}', relative_error(logits,
                                                  data[f'eval/logits_{task}'])
    img = image(data['train/imgs'], dtype).to(device)
    labels = torch.stack([
        stack_planes(names, *img.shape[2:], **{t: data[f'train/label_{t}'][0]})
        for t in names
    ]).to(device)
    metas = [make_meta(f'{t}_dataset', truth=[t]) for t in names]
    loss = total_loss(model.train()(img, metas, labels=labels))
    yield 'loss', relative_error(loss, np.asarray(data['train/log/loss']))
    loss.backward()
    finite = all(
        torch.isfinite(p.grad).all() for p in model.parameters()
        if p.grad is not None)
    yield 'gradients that are not finite', 0.0 if finite else float('inf')


def main(argv: Sequence[str] | None = None) -> int:
    """Compare and print; 1 if something is off."""
    parser = make_parser(__doc__, [('--device', '', dict(default='cuda'))])
    device = parser.parse_args(argv).device
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    off = 0
    for dtype in (torch.float64, torch.float32):
        for name, error in errors(device, dtype):
            good = error <= tolerance_of(dtype)
            off += not good
            print(f'{str(dtype):14} {name:30} {error:.1e} '
                  f'{"" if good else "TOO FAR OFF"}')
    return 1 if off else 0


if __name__ == '__main__':
    sys.exit(main())
