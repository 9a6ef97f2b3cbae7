"""Time of a training step of any config, on random images.

    python -m benchmarks.config_step CONFIG [CONFIG ...] [--size 384]
        [--steps 3] [--parts] [--cfg-options key=value ...]

Each config's network takes steps forward and backward, on one thread of the
CPU, with one random image of every dataset of ``data.train``, labelled as that
dataset is; no files are read. What is reported is processor time, which other
programs on the machine change little.

With ``--parts``: where the time goes, in turn with the bare network, which is
the same backbone and heads on the same images, forward and backward, from the
heads' own maps. Samples are read from the files of ``data.train`` for it.
"""
import logging
import types

import torch
from mmcv import Config

import mbos.registration  # noqa: F401
from benchmarks import model as networks
from benchmarks.common import in_turn, markdown
from mbos.accelerate import accelerate_on_cpu
from mbos.commands.options import FLAG, config_options, make_parser
from mbos.config import load_config, member_datasets
from mbos.datasets.loader import build_train_loader
from mbos.engine.averaging import EMAWeightsHook
from mbos.engine.hooks import GradientStepHook
from mbos.engine.train import build_train_set
from mbos.models.multi_task_segmentor import index_rows
from mbos.models.supervision import wanted_rows
from mbos.runtime.environment import Environment


def random_batch(cfg: Config, size: int) -> dict:
    """An image of each training dataset, with random labels. Of members that
    take turns, the first is taken."""
    members = []
    for given in cfg.data.train.datasets:
        member, *_ = member_datasets(
            given[0] if isinstance(given, (list, tuple)) else given)
        kinds = dict.fromkeys(member.get('pseudo_dirs') or {}, 'pseudo')
        kinds |= dict.fromkeys(member.get('ann_dirs') or {}, 'truth')
        members.append((member.name, kinds))
    return networks.random_batch(cfg, members, size)


def bare_step(model: torch.nn.Module, batch: dict) -> None:
    """The network alone, forward and backward, one image at a time.

    Heads give what the losses of the batch read; the gradient that comes back
    into each of their maps is 1."""
    model.zero_grad()
    _, terms = model.plan_batch(batch['img_metas'], batch['labels'],
                                torch.float32)
    for row in range(len(batch['img'])):
        img = batch['img'][row:row + 1]
        own = [t for t in (t.restrict([row]) for t in terms) if t.rows]
        rows = index_rows(wanted_rows(own, model.tasks), 1, img.device)
        features = model.extract_feat(img)
        maps = [
            value for head in model.dense_heads.values()
            for value in head(features, rows).values()
        ]
        torch.autograd.backward(maps, [torch.ones_like(m) for m in maps])
    model.zero_grad()


def parts_of_step(cfg: Config, model: torch.nn.Module, batch: dict,
                  steps: int) -> str:
    """Processor time of each part of a step, medians of steps in turn, and its
    share of the bare network's: a Markdown table."""
    given = cfg.optimizer_config
    options = {k: given[k] for k in ('accumulate', 'grad_clip') if k in given}
    hook, average = GradientStepHook(**options), EMAWeightsHook()
    runner = types.SimpleNamespace(
        meta={}, iter=0, _max_iters=10**6, model=model, data_batch=batch,
        optimizer=networks.build_optimizers(model, cfg),
        logger=logging.getLogger())  # yapf: disable
    average.before_run(runner)
    cfg.merge_from_dict({'seed': 0, 'data.workers_per_gpu': 0})
    cpu = Environment(torch.device('cpu'))
    samples = iter(build_train_loader(build_train_set(cfg), cfg, cpu))

    def step():
        runner.outputs = model.train_step(batch, backward=hook.backward)

    parts = in_turn(
        {
            'bare network': lambda: bare_step(model, batch),
            'data': lambda: next(samples),
            'clear gradients': lambda: hook.before_train_iter(runner),
            'network and losses': step,
            'clip and optimizer': lambda: hook.after_train_iter(runner),
            'EMA': lambda: average.after_train_iter(runner),
        }, steps)
    bare = parts['bare network']
    parts['all but the bare network'] = sum(parts.values()) - bare
    rows = [(name, f'{seconds:.3f}', f'{seconds / bare:.2f}')
            for name, seconds in parts.items()]
    return markdown([('part', 'CPU s', 'of the bare network'), *rows])


def main(argv: list[str] | None = None) -> None:
    """Time every config, and compare with the first."""
    parser = make_parser(__doc__, [
        ('configs', '', dict(nargs='+', metavar='CONFIG')),
        ('--size', 'side of the images', dict(type=int, default=384)),
        ('--steps', 'steps that are timed', dict(type=int, default=3)),
        ('--parts', 'where the time goes', FLAG),
        config_options(),
    ])
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    logging.disable(logging.INFO)
    first = None
    for path in args.configs:
        cfg = load_config(path, args.cfg_options)
        cfg.model.pretrained = None
        model = networks.build_network(cfg)
        batch = random_batch(cfg, args.size)
        accelerate_on_cpu(model, torch.device('cpu'), cfg)
        if args.parts:
            print(
                f'{path}\n\n{parts_of_step(cfg, model, batch, args.steps)}\n')
            continue

        def step():
            model.zero_grad()
            model.train_step(batch, backward=lambda loss: loss.backward())

        seconds = in_turn(dict(step=step), args.steps)['step']
        first = first or seconds
        print(f'{seconds:7.2f} s  {seconds / first:5.2f} x  '
              f'{len(batch["img"])} images  {path}')


if __name__ == '__main__':
    main()
