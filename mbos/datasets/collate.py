"""From samples to the batch that the segmentors read."""
from collections.abc import Sequence

import torch
from mmcv.parallel import DataContainer

Sample = dict[str, DataContainer]


class BatchContainer(DataContainer):
    """mmcv's container of tensors, which can be put into pinned memory.

    A DataLoader with ``pin_memory`` leaves mmcv's own as they are.
    """

    def pin_memory(self) -> 'BatchContainer':
        """Copy the tensors to memory from which a GPU can fetch them."""
        return BatchContainer([_pinned(part) for part in self.data],
                              stack=self.stack)


def _pinned(part: torch.Tensor | list[torch.Tensor]):
    if isinstance(part, list):
        return [tensor.pin_memory() for tensor in part]
    return part.pin_memory()


def collate_samples(
        batch: Sequence[Sample | list[Sample]]) -> dict[str, object]:
    """Join samples, or items of :class:`JointDataset`, to a batch for one GPU.

    Items are flattened: all members of the first one come first.

    Returns:
        dict: ``img`` of shape (N, 3, H, W) and ``labels`` of shape
        (N, T, H, W), or lists of N tensors where sizes differ (images are
        never padded to each other's size), and ``img_metas``, a list of N
        dicts; all in mmcv's layout of one entry per GPU.
    """
    samples = []
    for item in batch:
        samples.extend(item if isinstance(item, (list, tuple)) else [item])
    if not samples:
        raise ValueError('Expected at least one sample, got an empty batch.')
    metas = [sample['img_metas'].data for sample in samples]
    return dict(
        img=_join([sample['img'].data for sample in samples]),
        labels=_join([sample['labels'].data for sample in samples]),
        img_metas=DataContainer([metas], cpu_only=True))


def _join(tensors: list[torch.Tensor]) -> BatchContainer:
    same = all(tensor.shape == tensors[0].shape for tensor in tensors)
    if same:
        return BatchContainer([torch.stack(tensors)], stack=True)
    return BatchContainer([tensors])
