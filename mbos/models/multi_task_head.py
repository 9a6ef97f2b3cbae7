"""One decoder per task, side by side (docs/method.md, section 2, steps 2-5).
"""
import math
from collections.abc import Sequence

import torch
from mmcv.cnn import ConvModule
from mmcv.runner import BaseModule, ModuleDict
from mmseg.models.builder import HEADS, build_head, build_loss
from torch import Tensor, nn

from mbos.tasks import Task, TaskLike, build_tasks
from .cross_task_attention import CrossTaskAttention, select
from .recomputation import maybe_recomputed

Rows = dict[str, Tensor | None]
"""For each task that is wanted, the indices of its images; None for all."""


@HEADS.register_module()
class MultiTaskHead(BaseModule):
    """A stock mmseg head per task, with optional cross-task attention.

    The published decoder is one head with grouped convolutions and as many
    GroupNorm groups as tasks; that equals separate heads with one group each,
    which is what this is.

    Args:
        head (dict): Config of mmseg's ``UPerHead``, ``FCNHead`` or another
            head that offers ``_forward_feature``, without ``num_classes``.
        loss_decode (dict): Config of a ``BinaryLoss`` or the like.
        cross_task_attention (dict, optional): Arguments of
            :class:`CrossTaskAttention`; None leaves it out.
        drop_whole_tasks (bool): Whether dropout drops all channels of a task
            at once, which reproduces the published release.
    """

    def __init__(self,
                 tasks: Sequence[TaskLike],
                 head: dict,
                 loss_decode: dict,
                 cross_task_attention: dict | None = None,
                 drop_whole_tasks: bool = False,
                 init_cfg: dict | None = None):
        super().__init__(init_cfg)
        self.tasks = {task.name: task for task in build_tasks(tasks)}
        # mmcv's ModuleDict, because torch's hides its parts from init_weights
        self.heads = ModuleDict({
            n: _build_task_head(head, t)
            for n, t in self.tasks.items()
        })
        # what mmseg asks of a head; all channels are sigmoid
        self.align_corners = self.any_head.align_corners
        self.num_classes = self.out_channels = sum(
            task.num_classes for task in self.tasks.values())
        self.loss_decode = build_loss(loss_decode)
        if not hasattr(self.loss_decode, 'counts'):
            raise ValueError(
                f'{type(self.loss_decode).__name__} does not serve as '
                "loss_decode: write dict(type='BinaryLoss', mode='dice'), "
                "'ce' or 'ce_dice', or a subclass of it.")
        self.drop_whole_tasks = drop_whole_tasks
        self.recompute = False
        xta = cross_task_attention
        self.cross_task_attention = None if xta is None else (
            CrossTaskAttention(
                list(self.tasks), channels=self.any_head.channels, **xta))

    @property
    def any_head(self) -> nn.Module:
        """A head to read settings from that all share."""
        return next(iter(self.heads.values()))

    def init_weights(self):
        """Kaiming normal with the fan-out of the published grouped convs."""
        super().init_weights()
        for module in self.heads.modules():
            if isinstance(module, ConvModule):
                weight = module.conv.weight
                fan_out = len(self.tasks) * weight[:, 0].numel()
                nn.init.normal_(weight, std=math.sqrt(2 / fan_out))

    def recompute_activations(self) -> None:
        """Keep little of a forward pass, for the low-memory mode."""
        self.recompute = True
        if self.cross_task_attention is not None:
            self.cross_task_attention.recompute = True

    def _decode(self, task: str, inputs: list[Tensor]) -> Tensor:
        """The map before a task's classifier, (n, channels, h, w)."""
        head = self.heads[task]
        feature = head._forward_feature(inputs)
        if head.dropout is not None and self.drop_whole_tasks:
            # Dropout2d on (N, 1, C, H * W) drops the task as one channel
            return head.dropout(feature.flatten(2)[:, None]).view_as(feature)
        return feature if head.dropout is None else head.dropout(feature)

    def forward(self,
                inputs: list[Tensor],
                rows: Rows | None = None) -> dict[str, Tensor]:
        """Logits (n, C, h, w) of the wanted tasks and images, by task name,
        from backbone maps (N, C_l, H_l, W_l); default: every task on every
        image.
        """
        rows = dict.fromkeys(self.tasks) if rows is None else rows
        if self.cross_task_attention is None:  # one by one: maps are large
            return {
                task: self.heads[task].conv_seg(
                    maybe_recomputed(self.recompute, self._decode, task,
                                     [select(x, index) for x in inputs]))
                for task, index in rows.items()
            }  # yapf: disable
        # Every task's map is asked by the others, so all are needed.
        features = self.cross_task_attention({
            task: maybe_recomputed(self.recompute, self._decode, task, inputs)
            for task in self.tasks
        }, rows)  # yapf: disable
        return {t: self.heads[t].conv_seg(x) for t, x in features.items()}

    def forward_test(self, inputs: list[Tensor], img_metas: list[dict],
                     test_cfg: dict) -> Tensor:
        """Logits of all tasks side by side, (N, sum of C, h, w).

        Tasks that ``test_cfg['tasks']`` leaves out are 0; where nothing else
        needs them, nothing is computed for them.
        """
        wanted = (test_cfg or {}).get('tasks') or self.tasks
        rows = dict.fromkeys(t for t in self.tasks if t in wanted)
        logits = self(inputs, rows)
        nothing = torch.zeros_like(next(iter(logits.values()))[:, :1])
        return torch.cat([
            logits.get(name, nothing.expand(-1, task.num_classes, -1, -1))
            for name, task in self.tasks.items()
        ], 1)


def _build_task_head(cfg: dict, task: Task) -> nn.Module:
    n = task.num_classes
    head = build_head(dict(cfg, num_classes=n, out_channels=n, threshold=0.5))
    if not hasattr(head, '_forward_feature'):
        raise ValueError(
            f'{type(head).__name__} does not serve as the head of a task, '
            'since it gives no map before its classifier: take UPerHead, '
            'FCNHead, PSPHead or another that has _forward_feature.')
    return head
