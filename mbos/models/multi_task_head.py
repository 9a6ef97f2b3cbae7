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
        loss_decode (dict): Config of a loss that takes (logits, labels, task)
            and returns one value per image, such as ``BinaryLoss``.
        cross_task_attention (dict, optional): Arguments of
            :class:`CrossTaskAttention`; None leaves it out.
        drop_whole_tasks (bool): Whether dropout drops all channels of a task
            at once, which reproduces the published release, instead of single
            channels.

    Raises:
        ValueError: If head or loss are of a kind that does not serve.
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
            task.name: _build_task_head(head, task)
            for task in self.tasks.values()
        })
        # what mmseg asks of a head; all channels are sigmoid
        self.align_corners = self.any_head.align_corners
        self.num_classes = self.out_channels = sum(
            task.num_classes for task in self.tasks.values())
        self.loss_decode = build_loss(loss_decode)
        if not hasattr(self.loss_decode, 'counts'):
            raise ValueError(
                f'{type(self.loss_decode).__name__} does not serve as '
                'loss_decode: classes of a task may overlap and labels be '
                "missing, so write dict(type='BinaryLoss', mode='dice'), "
                "'ce' or 'ce_dice', or a subclass of it.")
        self.drop_whole_tasks = drop_whole_tasks
        self.recompute = False
        self.cross_task_attention = None
        if cross_task_attention is not None:
            self.cross_task_attention = CrossTaskAttention(
                list(self.tasks),
                channels=self.any_head.channels,
                **cross_task_attention)

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
        head = self.heads[task]
        feature = head._forward_feature(inputs)
        if head.dropout is None:
            return feature
        if self.drop_whole_tasks:
            # Dropout2d on (N, 1, C, H * W) drops the task as one channel
            return head.dropout(feature.flatten(2)[:, None]).view_as(feature)
        return head.dropout(feature)

    def features(self, inputs: list[Tensor], rows: Rows) -> dict[str, Tensor]:
        """Each wanted task's map before its classifier, (n, channels, h, w),
        from backbone maps (N, C_l, H_l, W_l).
        """
        if self.cross_task_attention is None:
            return {
                task:
                maybe_recomputed(self.recompute, self._decode, task,
                                 [select(x, index) for x in inputs])
                for task, index in rows.items()
            }
        # Every task's map is asked by the others, so all are needed.
        features = {
            task: maybe_recomputed(self.recompute, self._decode, task, inputs)
            for task in self.tasks
        }
        return self.cross_task_attention(features, rows)

    def forward(self,
                inputs: list[Tensor],
                rows: Rows | None = None) -> dict[str, Tensor]:
        """Logits (n, C, h, w) of the wanted tasks and images, by task name;
        default: every task on every image.
        """
        if rows is None:
            rows = dict.fromkeys(self.tasks)
        groups = [rows]
        if self.cross_task_attention is None:  # one by one: maps are large
            groups = [{task: index} for task, index in rows.items()]
        logits = {}
        for some in groups:
            logits.update({
                task: self.heads[task].conv_seg(feature)
                for task, feature in self.features(inputs, some).items()
            })
        return logits

    def forward_test(self, inputs: list[Tensor], img_metas: list[dict],
                     test_cfg: dict) -> Tensor:
        """Logits of all tasks side by side, (N, sum of C, h, w).

        Tasks that ``test_cfg['tasks']`` leaves out are 0; where nothing else
        needs them, nothing is computed for them.
        """
        wanted = (test_cfg or {}).get('tasks') or self.tasks
        logits = self(inputs,
                      dict.fromkeys(t for t in self.tasks if t in wanted))
        nothing = torch.zeros_like(next(iter(logits.values()))[:, :1])
        return torch.cat([
            logits.get(name, nothing.expand(-1, task.num_classes, -1, -1))
            for name, task in self.tasks.items()
        ], 1)


def _build_task_head(cfg: dict, task: Task) -> nn.Module:
    classes = task.num_classes
    head = build_head(
        dict(cfg, num_classes=classes, out_channels=classes, threshold=0.5))
    if not hasattr(head, '_forward_feature'):
        raise ValueError(
            f'{type(head).__name__} does not serve as the head of a task, '
            'since it gives no map before its classifier: take UPerHead, '
            "FCNHead, PSPHead, ASPPHead or another of mmseg's heads with "
            '_forward_feature.')
    return head
