"""mmseg's UPerHead, with convolutions of enlarged maps taken apart."""
from functools import lru_cache

import torch
import torch.nn.functional as F
from mmseg.models.decode_heads import UPerHead
from mmseg.ops import resize
from torch import Tensor, nn

BAND = 32
"""int: Rows or columns of an enlarged map that are computed together."""


class LateEnlargingUPerHead(UPerHead):
    """mmseg's UPerHead in fewer operations.

    Two of its 3x3 convolutions see several maps side by side, most of them
    enlarged. A convolution of maps side by side is the sum of convolutions of
    each, and a coarse one is better convolved before it is enlarged
    (:func:`enlarged_convolution`): about a third fewer multiplications in the
    published decoder, and no copies of enlarged maps. Maps are channels last
    in memory, as these products give them and convolutions like them on CPU.
    """

    def _forward_feature(self, inputs: list[Tensor]) -> Tensor:
        inputs = [
            x.contiguous(memory_format=torch.channels_last)
            for x in self._transform_inputs(inputs)
        ]
        maps = [conv(x) for conv, x in zip(self.lateral_convs, inputs)]
        maps.append(self.psp_forward(inputs))
        for i in range(len(maps) - 1, 0, -1):
            # in place where no gradient needs the values: large maps
            maps[i - 1] = self._enlarged(maps[i], maps[i - 1].shape[2:]).add_(
                maps[i - 1])
        for i, conv in enumerate(self.fpn_convs):
            maps[i] = conv(maps[i])
        return self._convolve(self.fpn_bottleneck, maps)

    def psp_forward(self, inputs: list[Tensor]) -> Tensor:
        """Pyramid pooling of the last map."""
        x = inputs[-1]
        return self._convolve(self.bottleneck,
                              [x] + [pool(x) for pool in self.psp_modules])

    def _enlarged(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        return resize(
            x, size=size, mode='bilinear', align_corners=self.align_corners)

    def _convolve(self, module: nn.Module, maps: list[Tensor]) -> Tensor:
        """A ConvModule on maps that are enlarged to the first one's size.

        The list is empty afterwards: maps are large, and none is kept for
        longer than it is needed.
        """
        conv, size, corners = module.conv, maps[0].shape[2:], \
            self.align_corners
        weight, *others = conv.weight.split([x.shape[1] for x in maps], dim=1)
        total = F.conv2d(maps.pop(0), weight, conv.bias, padding=conv.padding)
        for weight in others:
            x = maps.pop(0)
            if not torch.is_grad_enabled() and is_late_cheaper(
                    weight, x.shape[2:], size, BAND):
                add_enlarged_convolution(total, x, weight, corners)
                continue
            if is_late_cheaper(weight, x.shape[2:], size):
                part = enlarged_convolution(x, weight, size, corners)
            else:
                if x.shape[2:] != size:
                    x = self._enlarged(x, size)
                part = F.conv2d(x, weight, padding=conv.padding)
            total = part.add_(total)
        if module.with_norm:
            total = module.norm(total)
        return module.activate(total) if module.with_activation else total


def is_late_cheaper(weight: Tensor,
                    size: tuple[int, int],
                    enlarged: tuple[int, int],
                    band: int | None = None) -> bool:
    """Whether mixing the channels of a small map and then enlarging it, in
    one piece or in bands, takes half of the multiplications, or less.
    """
    _, channels, k, _ = weight.shape
    (h, w), (tall, wide) = size, enlarged
    # values of the small map that one of the enlarged map is multiplied with
    down, across = (k * (band * small / large + 2 if band else small)
                    for small, large in zip(size, enlarged))
    mixing = k * k * channels * h * w
    late = mixing + k * down * tall * w + across * tall * wide
    return 2 * late <= channels * k * k * tall * wide


def enlarged_convolution(x: Tensor, weight: Tensor, size: tuple[int, int],
                         align_corners: bool) -> Tensor:
    """A convolution of a bilinearly enlarged map, without enlarging it first:
    (N, C_in, h, w) to (N, C_out, H, W), channels last in memory.

    Mixing channels and enlarging commute. So each of the k x k weights, k odd,
    mixes the channels of the small map, and what a convolution then does,
    shifting, enlarging and adding up, is a matrix product along each axis.
    """
    out, channels, k, _ = weight.shape
    n, _, h, w = x.shape
    tokens = x.permute(0, 2, 3, 1).reshape(n, 1, h * w, channels)
    # (k_y, C_in, k_x, C_out)
    mixing = weight.permute(2, 1, 3, 0).reshape(k, channels, k * out)
    mixed = tokens @ mixing  # (N, k_y, h * w, k_x * C_out)
    down = _shifts(h, size[0], k, align_corners).to(mixed)
    across = _shifts(w, size[1], k, align_corners).to(mixed)
    # (H, k_y * h) times (k_y * h, w * k_x * C_out)
    tall = down.transpose(0, 1).flatten(1) @ mixed.view(n, k * h, -1)
    # (W, w * k_x) times (w * k_x, C_out), for every row
    across = across.permute(1, 2, 0).flatten(1)
    wide = across @ tall.view(n, size[0], w * k, out)
    return wide.permute(0, 3, 1, 2)


def add_enlarged_convolution(total: Tensor, x: Tensor, weight: Tensor,
                             align_corners: bool) -> None:
    """Add :func:`enlarged_convolution` to a map in place, without gradients.

    A value of the enlarged map mixes few of the small one. So the products
    along each axis are taken band by band, each with the values it mixes. The
    map, (N, C_out, H, W), is channels last in memory.
    """
    out, channels, k, _ = weight.shape
    (h, w), (height, width) = x.shape[2:], total.shape[2:]
    # (k_x, C_in, k_y * C_out)
    mixing = weight.permute(3, 1, 2, 0).reshape(k, channels, k * out)
    for image, sums in zip(x, total):
        tokens = image.permute(2, 1, 0).reshape(w, 1, h, channels)
        mixed = (tokens @ mixing).view(w * k, h * k * out)
        wide = mixed.new_empty(width, h * k * out)
        for rows, columns, matrix in _bands(w, width, k, align_corners):
            torch.mm(matrix.to(mixed), mixed[columns], out=wide[rows])
        tall = wide.view(width, h * k, out).transpose(0, 1).reshape(h * k, -1)
        sums = sums.permute(1, 2, 0).view(height, width * out)
        for rows, columns, matrix in _bands(h, height, k, align_corners):
            sums[rows].addmm_(matrix.to(tall), tall[columns])


@lru_cache(maxsize=32)
def _bands(length: int, enlarged: int, k: int,
           align_corners: bool) -> list[tuple[slice, slice, Tensor]]:
    """Enlarging along an axis: rows, what they mix, and by which matrix."""
    shifts = _shifts(length, enlarged, k, align_corners)
    matrix = shifts.permute(1, 2, 0).flatten(1)  # (enlarged, length * k)
    found = []
    for first in range(0, enlarged, BAND):
        rows = slice(first, first + BAND)
        mixed = matrix[rows].any(0).nonzero().flatten().tolist()
        columns = slice(mixed[0], mixed[-1] + 1)
        found.append((rows, columns, matrix[rows, columns]))
    return found


def _shifts(length: int, enlarged: int, k: int, align_corners: bool) -> Tensor:
    """Enlarging along an axis, seen by each weight: (k, enlarged, length)."""
    identity = torch.eye(length, dtype=torch.float64)[None]
    matrix = F.interpolate(
        identity, enlarged, mode='linear', align_corners=align_corners)[0].T
    matrix = F.pad(matrix, (0, 0, k // 2, k // 2))
    return torch.stack([matrix[i:i + enlarged] for i in range(k)])
