"""Cross-task attention against a slow implementation with plain loops."""
import math

import pytest
import torch
import torch.nn.functional as F

from mbos.models.cross_task_attention import CrossTaskAttention

CHANNELS, HEADS = 8, 2


def attention(tasks, window=3, **kwargs):
    torch.manual_seed(0)
    net = CrossTaskAttention(
        tasks, CHANNELS, num_heads=HEADS, window_size=window, **kwargs)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return net.double()


def norm(vector, layer):
    mean = vector.sum() / len(vector)
    var = ((vector - mean)**2).sum() / len(vector)
    return (vector - mean) / torch.sqrt(var + layer.eps) * layer.weight + \
        layer.bias


def slow_block(block, x, y):
    """One image of each task, (C, H, W): pixel by pixel, head by head."""
    c, h, w = x.shape
    window, size = block.window_size, c // block.num_heads
    table = block.relative_position_bias_table
    out = torch.zeros_like(x)
    for py in range(h):
        for px in range(w):
            top, left = py // window * window, px // window * window
            query = block.q(norm(x[:, py, px], block.norm1))
            answer = []
            for head in range(block.num_heads):
                part = slice(head * size, (head + 1) * size)
                scores, values = [], []
                for ky in range(top, top + window):
                    for kx in range(left, left + window):
                        inside = ky < h and kx < w
                        token = y[:, ky, kx] if inside else torch.zeros_like(
                            y[:, 0, 0])  # padding is not masked
                        key_value = block.kv(norm(token, block.norm1))
                        offset = ((py - ky + window - 1) * (2 * window - 1) +
                                  px - kx + window - 1)
                        score = (query[part] * key_value[:c][part]).sum()
                        scores.append(score / math.sqrt(size) +
                                      table[offset, head])
                        values.append(key_value[c:][part])
                weights = torch.stack(scores).softmax(0)
                answer.append(sum(w * v for w, v in zip(weights, values)))
            z = x[:, py, px] + block.proj(torch.cat(answer))
            hidden = F.gelu(block.ffn.layers[0][0](norm(z, block.norm2)))
            out[:, py, px] = z + block.ffn.layers[1](hidden)
    return out


def slow_shrink(net, x):
    """A map as the blocks see it: mean over squares, then fewer channels."""
    n, c, h, w = x.shape
    d = net.downscale
    out = torch.zeros(n, c, -(-h // d), -(-w // d), dtype=x.dtype)
    for row in range(out.shape[2]):
        for column in range(out.shape[3]):
            part = x[:, :, row * d:(row + 1) * d, column * d:(column + 1) * d]
            out[:, :, row, column] = part.mean((2, 3))
    if isinstance(net.narrow, torch.nn.Identity):
        return out
    conv = net.narrow.conv
    return torch.einsum('oc,nchw->nohw', conv.weight[:, :, 0, 0],
                        out) + conv.bias.view(-1, 1, 1)


def slow(net, whole):

    def block_of(i, j):
        return net.block if net.share_block else net.blocks[f'{i}_from_{j}']

    out = {}
    features = {task: slow_shrink(net, x) for task, x in whole.items()}
    for i, x in features.items():
        added = []
        for n in range(len(x)):
            answers = [
                slow_block(block_of(i, j), x[n], features[j][n])
                for j in net.task_names if j != i
            ]
            conv = net.fuse.conv.weight[:, :, 0, 0]
            z = torch.einsum('oc,chw->ohw', conv, torch.cat(answers))
            z = (z - z.mean()
                 ) / torch.sqrt(z.var(unbiased=False) + net.fuse.norm.eps)
            z = z * net.fuse.norm.weight[:, None, None] + \
                net.fuse.norm.bias[:, None, None]
            added.append(z.clamp(min=0))
        out[i] = whole[i] + F.interpolate(
            torch.stack(added), whole[i].shape[2:], mode='bilinear')
    return out


@pytest.mark.parametrize('tasks, settings, size', [
    (('a', 'b', 'c'), dict(share_block=True), (4, 5)),
    (('a', 'b', 'c'), dict(share_block=False), (3, 4)),
    (('a', 'b'), dict(), (6, 3)),
    (('a', 'b'), dict(downscale=2), (6, 4)),
    (('a', 'b'), dict(width=4, feedforward_ratio=2), (4, 3)),
    (('a', 'b', 'c'), dict(downscale=2, width=12), (7, 5)),
])
def test_equals_plain_loops(tasks, settings, size):
    net = attention(tasks, **settings)
    features = {
        t: torch.randn(2, CHANNELS, *size, dtype=torch.float64)
        for t in tasks
    }
    with torch.no_grad():
        fast, expected = net(features), slow(net, features)
    for task in tasks:
        assert torch.allclose(fast[task], expected[task], rtol=1e-9)


@pytest.mark.parametrize('settings', [
    dict(),
    dict(share_block=False),
    dict(downscale=2, width=4),
])
def test_rows_are_a_part_of_the_whole(settings):
    tasks = ('a', 'b', 'c')
    net = attention(tasks, **settings)
    features = {
        t: torch.randn(4, CHANNELS, 5, 7, dtype=torch.float64)
        for t in tasks
    }
    rows = dict(c=torch.tensor([3, 1]), a=None, b=torch.tensor([0]))
    whole, part = net(features), net(features, rows)
    assert torch.allclose(part['a'], whole['a'])
    assert torch.allclose(part['b'], whole['b'][:1])
    assert torch.allclose(part['c'], whole['c'][[3, 1]])
    assert set(net(features, dict(b=None))) == {'b'}


@pytest.mark.parametrize('share_block', [True, False])
def test_initial_weights(share_block):
    """Truncated normal, in every block; the feed-forward keeps its own."""
    torch.manual_seed(0)
    net = CrossTaskAttention(('a', 'b'), 32, window_size=8,
                             share_block=share_block)  # yapf: disable
    blocks = [net.block] if share_block else list(net.blocks.values())
    hidden = [b.ffn.layers[0][0].weight.clone() for b in blocks]
    net.init_weights()
    for block, before in zip(blocks, hidden):
        for tensor in (block.q.weight, block.kv.weight, block.proj.weight,
                       block.relative_position_bias_table):
            assert tensor.std().item() == pytest.approx(0.02, rel=0.15)
        assert not block.kv.bias.any()
        assert torch.equal(block.ffn.layers[0][0].weight, before)


def test_what_is_refused():
    with pytest.raises(ValueError, match='6 channels cannot be shared by 4'):
        CrossTaskAttention(('a', 'b'), 6, num_heads=4)
