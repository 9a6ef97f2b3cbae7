"""Stage 1, the pseudo-label generator, and inference of both stages."""
import copy
from collections.abc import Callable, Sequence

import mmcv
import numpy as np
import torch
from mmcv import ConfigDict
from mmseg.models.builder import SEGMENTORS
from mmseg.models.segmentors import EncoderDecoder
from mmseg.ops import resize
from torch import Tensor

from mbos.painter import draw_overlay
from mbos.tasks import TaskLike, build_tasks
from .backbones.weights import load_backbone_weights, weights_source
from .checks import batch_norms, images_per_pass
from .inference import (complete_test_cfg, mean_probabilities, mirrored_back,
                        unique_views)
from .losses import at_least_float32
from .multi_task_head import Rows
from .recomputation import recompute_backbone
from .supervision import SUPERVISED, Term, truth_terms, wanted_rows

Images = Tensor | list[Tensor]
ByTask = dict[str, Tensor]
PRECISIONS = dict(float32=None, bf16=torch.bfloat16, fp16=torch.float16)


@SEGMENTORS.register_module()
class MultiTaskSegmentor(EncoderDecoder):
    """One backbone and, for each task, a decoder and an auxiliary decoder.

    Args:
        decode_head (dict): Config of a ``MultiTaskHead``, without tasks; as
            ``auxiliary_head``, which may be left out.
        pretrained (str, optional): Weights for the backbone: a file, or
            'package:NAME' for an installed package.
        train_cfg (dict, optional): ``images_per_pass``: how many images pass
            the network together; it changes memory and speed, not results.
            'auto', the default, is one on CPU, all otherwise and with
            BatchNorm. ``precision``: float32, the default, bf16 or fp16;
            losses, discriminators and inference are in float32.
            ``low_memory``: compute activations of the backbone, the decoders
            and cross-task attention again in the backward pass rather than
            keeping them, one image at a time; the same results.
        test_cfg (dict, optional): See :func:`complete_test_cfg`.
    """

    stage = 'multi_task'
    test_cfg: dict

    def __init__(self,
                 tasks: Sequence[TaskLike],
                 backbone: dict,
                 decode_head: dict,
                 auxiliary_head: dict | None = None,
                 pretrained: str | None = None,
                 train_cfg: dict | None = None,
                 test_cfg: dict | None = None,
                 init_cfg: dict | None = None):
        source, prefix, backbone = weights_source(
            dict(pretrained=pretrained, backbone=backbone, init_cfg=init_cfg))
        built = build_tasks(tasks)
        super().__init__(
            backbone=backbone,
            decode_head=dict(decode_head, tasks=built),
            auxiliary_head=auxiliary_head
            and dict(auxiliary_head, tasks=built),
            train_cfg=train_cfg,
            test_cfg=ConfigDict(complete_test_cfg(test_cfg)),
            init_cfg=init_cfg)
        self.tasks = {task.name: task for task in built}
        self.pretrained, self.pretrained_prefix = source, prefix
        train_cfg = train_cfg or {}
        precision = train_cfg.get('precision', 'float32')
        self.reduced_precision = PRECISIONS[precision]
        self.low_memory = train_cfg.get('low_memory', False)
        if self.low_memory:
            recompute_backbone(self.backbone)
            for head in self.dense_heads.values():
                head.recompute_activations()

    def init_weights(self):
        """Initialise, then load the backbone's weights where configured."""
        super().init_weights()
        if self.pretrained is not None:
            load_backbone_weights(self.backbone, self.pretrained,
                                  self.pretrained_prefix)

    @property
    def dense_heads(self) -> dict[str, torch.nn.Module]:
        """The heads by their prefix in the logs."""
        heads = {'decode': self.decode_head}
        if self.with_auxiliary_head:
            heads['aux'] = self.auxiliary_head
        return heads

    def compile_parts(self) -> None:
        """Let torch.compile compile backbone and heads when they first run."""
        for part in (self.backbone, *self.dense_heads.values()):
            part.compile()

    # ---- training

    def plan(self, img_metas: list[dict], counts: ByTask) -> list[Term]:
        """The loss terms of a batch; ``counts`` are by task 1.0 for images
        whose plane has a valid pixel, (N, ).
        """
        return truth_terms(img_metas, list(self.tasks), counts)

    def head_losses(self, prefix: str, logits: ByTask, rows: dict[str,
                                                                  list[int]],
                    labels: ByTask, terms: list[Term]) -> dict[str, Tensor]:
        """Values of the terms for one head, from logits at label size,
        (n, C, H, W), of the images ``rows``, and label planes of all images,
        (N, H, W).
        """
        loss = self.dense_heads[prefix].loss_decode
        values = {}
        for term in (term for term in terms if term.role == SUPERVISED):
            picked = pick(logits[term.task], rows[term.task], term.rows)
            task = self.tasks[term.task]
            per_image = loss(picked, labels[term.task][term.rows], task,
                             term.known(task, picked.device))
            values[term.name] = (per_image * term.weights).sum()
        return values

    def group_losses(self, img: Tensor, labels: ByTask,
                     terms: list[Term]) -> dict[str, Tensor]:
        """One forward pass over images (N, 3, H, W), and its losses: scalars
        by ``<head>.<term>``; see :func:`total_loss`.
        """
        rows = wanted_rows(terms, self.tasks)
        index = index_rows(rows, len(img), img.device)
        features = self.extract_feat(img)
        losses = {}
        for prefix, head in self.dense_heads.items():
            logits = {
                task:
                resize(
                    at_least_float32(value), img.shape[2:], None, 'bilinear',
                    head.align_corners)
                for task, value in head(features, index).items()
            }
            values = self.head_losses(prefix, logits, rows, labels, terms)
            losses.update({f'{prefix}.{k}': v for k, v in values.items()})
        return losses

    def forward_train(self,
                      img: Images,
                      img_metas: list[dict],
                      labels: Images,
                      backward: Callable | None = None,
                      **kwargs) -> dict[str, Tensor]:
        """Losses of a batch of partially labelled images, (N, 3, H, W), or N
        images of unequal sizes.

        ``img_metas`` have ``dataset`` and ``planes``: by task name, ``kind``
        (truth, pseudo, absent) and ``weight``, and ``classes`` where the plane
        labels only some; ``labels`` are the planes in their order, (N, T, H,
        W). ``backward`` is called with the summed loss of each group of images
        as soon as it is there, so that its graph is freed before the next.
        The values returned are then detached.
        """
        # weights as exact as the losses: float32 does not have 0.05
        dtype = at_least_float32(img[0]).dtype
        by_task, terms = self.plan_batch(img_metas, labels, dtype)
        precision = torch.autocast(
            img[0].device.type,
            dtype=self.reduced_precision,
            enabled=self.reduced_precision is not None)
        losses = {}
        for group in self._groups(img):
            parts = [term.restrict(group) for term in terms]
            parts = [term for term in parts if term.rows]
            if not parts:
                continue

            def of_group(values: Sequence[Tensor]) -> Tensor:
                return torch.stack([values[row] for row in group])

            planes = {task: of_group(x) for task, x in by_task.items()}
            with precision:
                values = self.group_losses(of_group(img), planes, parts)
            if backward is not None:
                backward(total_loss(values))
                values = {k: v.detach() for k, v in values.items()}
            for name, value in values.items():
                losses[name] = losses.get(name, 0) + value
        return losses

    def train_step(self,
                   data_batch: dict,
                   optimizer=None,
                   backward: Callable | None = None,
                   **kwargs) -> dict:
        """One training iteration without the optimizers' step: ``loss``, the
        sum of all that trains; ``losses``, every value by name, detached.
        """
        losses = self(**data_batch, backward=backward)
        return dict(
            loss=total_loss(losses),
            losses={
                name: value.detach()
                for name, value in losses.items()
            },
            num_samples=len(data_batch['img_metas']))

    def plan_batch(self, img_metas: list[dict], labels: Sequence[Tensor],
                   dtype: torch.dtype) -> tuple[dict, list[Term]]:
        """Label planes by task, and the losses of a batch."""
        order = list(img_metas[0]['planes'])
        if set(order) != set(self.tasks):
            raise ValueError(
                f'The dataset {img_metas[0]["dataset"]!r} has label planes of '
                f'{sorted(order)}, the model the tasks {sorted(self.tasks)}: '
                'give both the same `tasks` in the config.')
        by_task = {
            task: [planes[order.index(task)] for planes in labels]
            for task in self.tasks
        }
        count = self.decode_head.loss_decode.counts
        counts = {
            task: torch.cat([count(plane[None]) for plane in planes]).to(dtype)
            for task, planes in by_task.items()
        }
        return by_task, self.plan(img_metas, counts)

    def _groups(self, img: Images) -> list[list[int]]:
        """Indices of images to pass together: equal size, limited number."""
        alone = self.low_memory or img[0].device.type == 'cpu'
        limit = images_per_pass(self.train_cfg, len(img), alone,
                                batch_norms(self))
        sizes = {}
        for row, image in enumerate(img):
            sizes.setdefault(tuple(image.shape[-2:]), []).append(row)
        return [
            rows[i:i + limit] for rows in sizes.values()
            for i in range(0, len(rows), limit)
        ]

    # ---- inference

    def split(self, channels: Tensor) -> dict[str, Tensor]:
        """Channels of all tasks, (N, sum of C, H, W), by task name."""
        sizes = [task.num_classes for task in self.tasks.values()]
        return dict(zip(self.tasks, channels.split(sizes, dim=1)))

    def view_logits(self,
                    img: Tensor,
                    img_meta: list[dict],
                    test_cfg: dict | None = None,
                    tasks: Sequence[str] | None = None) -> Tensor:
        """Logits of one view of some images, mirrored back, of all tasks'
        channels, (N, sum of C, h, w), without padding.

        The inputs, (N, 3, H, W), are all mirrored alike or not at all;
        ``img_shape`` in mmseg's meta information is their size without
        padding. Channels of other tasks than ``tasks`` are 0.
        """
        # mmseg reads the model's test_cfg, and several threads may predict
        network = copy.copy(self)
        network.test_cfg = ConfigDict(
            complete_test_cfg(test_cfg or self.test_cfg), tasks=tasks)
        slide = network.test_cfg.mode == 'slide'
        infer = network.slide_inference if slide else network.whole_inference
        logits = infer(img, img_meta, rescale=False)
        height, width = img_meta[0]['img_shape'][:2]
        return mirrored_back(logits[..., :height, :width], img_meta[0])

    def simple_test(self, img: Tensor, img_meta: list[dict], *args,
                    **kwargs) -> list[dict]:
        """As :meth:`aug_test` of a single view."""
        return self.aug_test([img], [img_meta], *args, **kwargs)

    def aug_test(self,
                 imgs: list[Tensor],
                 img_metas: list[list[dict]],
                 rescale: bool = True,
                 tasks: Sequence[str] | None = None) -> list[dict]:
        """Float32 probabilities (C, H, W) by task name, of every image and of
        the ``tasks`` that are wanted; the mean over views.
        """
        imgs, img_metas = unique_views(imgs, img_metas)
        views = [
            self.split(self.view_logits(*view, tasks=tasks))
            for view in zip(imgs, img_metas)
        ]

        def probabilities(task: str, image: int, meta: dict) -> np.ndarray:
            size = tuple(meta['ori_shape' if rescale else 'img_shape'][:2])
            logits = [view[task][image] for view in views]
            found = mean_probabilities(logits, size, self.align_corners)
            return found.float().cpu().numpy()

        return [{
            task: probabilities(task, image, meta)
            for task in self.tasks if tasks is None or task in tasks
        } for image, meta in enumerate(img_metas[0])]

    def show_result(self,
                    img: str | np.ndarray,
                    result: list[dict] | dict[str, np.ndarray],
                    out_file: str | None = None,
                    opacity: float = 0.5,
                    **kwargs) -> np.ndarray:
        """Draw what mmseg's ``inference_segmentor`` gives on an image, BGR or
        a file, as mmseg's tools ask for: the picture, BGR, uint8.

        Each task has its colours; other arguments of mmseg are not used.
        """
        by_task = result[0] if isinstance(result, (list, tuple)) else result
        labels = {
            name: task.decode(torch.from_numpy(by_task[name])).numpy()
            for name, task in self.tasks.items()
        }
        image, tasks = mmcv.bgr2rgb(mmcv.imread(img)), [*self.tasks.values()]
        picture = mmcv.rgb2bgr(draw_overlay(image, labels, tasks, opacity))
        if out_file is not None:
            mmcv.imwrite(picture, out_file)
        return picture


def total_loss(losses: dict[str, Tensor]) -> Tensor:
    """Sum of the values that train: those named ``<head>.loss_...``."""
    return sum(value for name, value in losses.items()
               if name.split('.')[1].startswith('loss_'))


def index_rows(rows: dict[str, list[int]], images: int, device) -> Rows:
    """Indices as tensors, None where all images are wanted."""
    return {
        task: None if len(wanted) == images else
        torch.tensor(wanted, device=device)
        for task, wanted in rows.items()
    }  # yapf: disable


def pick(values: Tensor, have: list[int], want: list[int]) -> Tensor:
    """Rows ``want`` of a tensor whose rows belong to the images ``have``."""
    if have == want:
        return values
    return values[[have.index(row) for row in want]]
