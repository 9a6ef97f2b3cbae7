"""Which checkpoint continues a run, and whether it is the same run."""
import hashlib
import os.path as osp

import torch.distributed as dist
from mmcv import Config
from torch import nn

from mbos.checkpoints.foreign_state import split_foreign, split_mmcv_average
from mbos.checkpoints.loading import fit_weights, read_checkpoint
from mbos.config_rules import value_at
from mbos.faults import first_of
from mbos.runtime.environment import Environment
from .averaging import as_our_hook
from .checkpoint_hook import list_checkpoints
from .optimizers import as_dict, why_not_loadable

# Of the config, what decides how weights come out. The rest may be changed
# between the parts of a run: where things are, what is logged, saved and
# evaluated, how many processes load data.
_DECIDES = ('model', 'optimizer', 'optimizer_config', 'lr_config',
            'momentum_config', 'precision', 'seed')
_DOES_NOT = ('test_cfg', 'pretrained', 'images_per_pass', 'init_cfg',
             'data_root')
_SHOWN = 6


def check_resumable(model: nn.Module, optimizer, path: str) -> dict:
    """Check that a checkpoint continues a run of exactly this network.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If tasks, stage, weights or optimizers do not fit, or the
            checkpoint holds no training state.
    """
    content = read_checkpoint(path)
    if not _holds_a_run(content):
        raise ValueError(
            f'{path} holds weights only, no optimizer and no iteration: use '
            'it with --load-from instead of --resume-from.')
    training = content.get('training_weights') or {}
    fit_weights(
        model, path,
        dict(content, state_dict={
            **content['state_dict'],
            **training
        }))
    state = split_mmcv_average(content['state_dict'])[0]
    own = model.state_dict()
    state = split_foreign(state, own)[0]
    differing = sorted(set(own) ^ set(state))
    stage = content['meta'].get('mbos_stage')
    if differing or stage != model.stage:
        named = f' They differ in {", ".join(differing[:4])}.' if differing \
            else ''
        raise ValueError(
            f'{path} is of stage {stage!r}, the config is of stage '
            f'{model.stage!r}, and a run is continued with its own weights.'
            f'{named} Use the config it was trained with, or --load-from.')
    ours, theirs = sorted(as_dict(optimizer)), sorted(content['optimizer'])
    if ours != theirs:
        raise ValueError(
            f'{path} holds the optimizers {theirs}, the config has {ours}: '
            'use the config it was trained with, or --load-from.')
    for name, one in as_dict(optimizer).items():
        reason = why_not_loadable(one, content['optimizer'][name])
        if reason:
            raise ValueError(
                f'{path}: the optimizer {name!r} cannot go on with the state '
                f'that is stored: {reason}. Restore the config, or start from '
                'the weights alone with --load-from.')
    return content['meta']


def _holds_a_run(content: dict) -> bool:
    return 'optimizer' in content and 'iter' in content['meta']


def run_facts(cfg: Config, env: Environment, train_set) -> dict:
    """What makes a run the run it is; stored in its checkpoints."""
    facts = {key: _plain(cfg.get(key)) for key in _DECIDES}
    facts['runner'] = dict(max_iters=cfg.runner.max_iters)
    facts['data'] = dict(
        samples_per_gpu=cfg.data.samples_per_gpu, train=_plain(cfg.data.train))
    facts['images'] = {
        f'{position}_{member.name}': _fingerprint(member)
        for position, member in enumerate(
            getattr(train_set, 'datasets', [train_set]))
    }
    facts['processes'] = env.world_size
    facts['ema'] = _plain(
        next((hook for hook in map(as_our_hook,
                                   cfg.get('custom_hooks') or [])
              if hook.get('type') == 'EMAWeightsHook'), None))
    return facts


def _fingerprint(member) -> dict:
    """Number and names of a dataset's images, and who made its labels."""
    names = '\n'.join(member.stem(i) for i in range(len(member)))
    manifests = {
        osp.basename(folder): manifest.get('checkpoint_sha256')
        for folder, manifest in member.manifests().items()
    }
    return dict(
        number=len(member),
        names=hashlib.sha256(names.encode()).hexdigest()[:16],
        pseudo_labels=manifests)


def _plain(value):
    """Built-in types, and only what decides."""
    if isinstance(value, dict):
        return {
            str(key): _plain(item)
            for key, item in value.items() if key not in _DOES_NOT
        }
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if isinstance(value, (int, float, str, type(None))) \
        else repr(value)


def check_same_run(stored: dict, facts: dict, cfg: Config, logger) -> None:
    """Compare a checkpoint's run with the one that shall continue it.

    With ``auto_resume``, differences are errors; a checkpoint that the user
    named continues with a warning.

    Raises:
        ValueError: If ``auto_resume`` would continue another run, or an
            optimizer is of another type.
    """
    before = stored.get('mbos_run')
    if before is None:
        logger.warning(f'{cfg.resume_from} does not hold the settings of '
                       'its run, so they are not compared with the config.')
        return
    processes, now = before.get('processes'), facts['processes']
    if processes != now:
        size = facts['data']['samples_per_gpu']
        logger.warning(
            f'The run had {processes} process(es), now it has {now}: an '
            f'iteration takes {now * size} instead of {processes * size} '
            'image(s) of each dataset, from another place of the same random '
            'order, and dropout draws anew. Iterations and learning rates go '
            'on as before; to keep the batch, change data.samples_per_gpu.')
    changes = compare(before, facts)
    if processes != now:  # so that the batch can be kept
        changes.pop('processes')
        changes.pop('data.samples_per_gpu', None)
    if not changes:
        return
    types = [
        text for key, text in changes.items()
        if key.startswith('optimizer.') and key.endswith('.type')
    ]
    if types:
        raise ValueError(
            f'{cfg.resume_from}: {types[0]}, and no optimizer can go on with '
            'the state of another kind. Restore it, or start from the weights '
            'alone with --load-from.')
    texts = list(changes.values())
    if cfg.get('auto_resume'):
        raise ValueError(
            f'{cfg.resume_from} was saved with other settings: '
            f'{first_of(texts, _SHOWN)}. '
            'Restore them; or, if the change is meant, continue with '
            f'--resume-from {cfg.resume_from}, or start anew with another '
            '--work-dir.')
    logger.warning(f'{cfg.resume_from} was saved with other settings: '
                   f'{"; ".join(texts)}. '
                   "The config's are in force from here on.")


def warn_if_finished(stored: dict, cfg: Config, logger) -> None:
    """Say that a checkpoint leaves nothing to train."""
    if stored['iter'] >= cfg.runner.max_iters:
        logger.warning(
            f'{cfg.resume_from} is of iteration {stored["iter"]}, and '
            f'runner.max_iters is {cfg.runner.max_iters}: nothing is left to '
            'train. Raise runner.max_iters to go on.')


def compare(before: dict, now: dict, prefix: str = '') -> dict[str, str]:
    """What differs between two nested dicts: a phrase by key with dots."""
    changes = {}
    for key in sorted({*before, *now}):
        name = f'{prefix}{key}'
        one, two = before.get(key), now.get(key)
        if _numbered(one) and _numbered(two) and len(one) == len(two):
            one, two = (dict(enumerate(v)) for v in (one, two))
        if isinstance(one, dict) and isinstance(two, dict):
            one, two = ({str(k): v for k, v in d.items()} for d in (one, two))
            changes.update(compare(one, two, f'{name}.'))
        elif one != two:
            changes[name] = f'{name} was {_short(one)}, is {_short(two)}'
    return changes


def _numbered(value) -> bool:
    return isinstance(value, list) and any(
        isinstance(item, (dict, list)) for item in value)


def _short(value, length: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= length else text[:length] + '...'


def why_not_whole(path: str) -> str | None:
    """What is wrong with a checkpoint that a run shall continue, if any."""
    try:
        content = read_checkpoint(path)  # compares all checksums
    except (ValueError, OSError) as error:
        return str(error) if path in str(error) else f'{path}: {error}'
    if not _holds_a_run(content):
        return f'{path}: holds weights only'
    return None


def newest_whole(folders: list[str], logger) -> str | None:
    """The newest checkpoint that can be continued."""
    found = [item for folder in folders for item in list_checkpoints(folder)]
    for _, path in sorted(dict.fromkeys(found), key=lambda item: -item[0]):
        problem = why_not_whole(path)
        if problem is None:
            return path
        logger.warning(f'Passed over: {problem}')
    return None


def continue_from_newest(cfg: Config, env: Environment, logger) -> bool:
    """Set ``resume_from`` to the newest whole checkpoint of the work dir.

    Returns:
        bool: Whether the run is finished already.

    Raises:
        ValueError: If ``resume_from`` is set too.
    """
    if cfg.get('resume_from'):
        raise ValueError('--auto-resume and --resume-from contradict each '
                         'other: give one.')
    found = [None]
    if env.is_main:
        subfolder = cfg.checkpoint_config.get('subfolder', '')
        found[0] = newest_whole(
            [osp.join(cfg.work_dir, subfolder), cfg.work_dir], logger)
    if env.distributed:
        dist.broadcast_object_list(found, src=0)
    path = found[0]
    if path is None:
        logger.info(f'Nothing to resume in {cfg.work_dir}: the run starts '
                    'from its beginning.')
        return False
    content = read_checkpoint(path)
    done, last = content['meta']['iter'], cfg.runner.max_iters
    pending = value_at(content, 'progress.evaluation_pending')
    same = value_at(content, 'meta.mbos_run.runner.max_iters') in (None, last)
    if done >= last and same and not pending:
        logger.info(f'The run is finished: {path} is of the last iteration, '
                    f'{last}.')
        return True
    logger.info(f'Going on from {path}, iteration {done} of {last}.')
    cfg.resume_from = path
    return False
