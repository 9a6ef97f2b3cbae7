"""Which checkpoint continues a run, and whether it is the same run."""
import hashlib
import logging
import os.path as osp

import torch.distributed as dist
from mmcv import Config
from torch import nn

from mbos.checkpoints.loading import fit_weights, read_checkpoint
from mbos.config_rules import value_at
from mbos.datasets.checks import read_manifest
from mbos.faults import first_of
from mbos.runtime.environment import Environment
from .optimizers import as_dict
from .runner import list_checkpoints

# Of the config, what decides how weights come out. The rest may be changed
# between the parts of a run: where things are, what is logged, saved and
# evaluated, how many processes load data.
_DECIDES = ('model', 'optimizer', 'optimizer_config', 'lr_config',
            'momentum_config', 'precision', 'seed', 'runner.max_iters',
            'data.samples_per_gpu', 'data.train')
_DOES_NOT = ('test_cfg', 'pretrained', 'images_per_pass', 'init_cfg',
             'data_root')
_NEVER = ('.type', '.amsgrad')
_AVERAGING = ('EMAWeightsHook', 'EMAHook')


def choose_checkpoint(cfg: Config, env: Environment,
                      logger: logging.Logger) -> None:
    """With ``auto_resume``, set ``resume_from`` to the newest whole checkpoint
    of the work directory; without, warn of those that are there."""
    folder = osp.join(cfg.work_dir, cfg.checkpoint_config.get('subfolder', ''))
    found = [path for _, path in list_checkpoints(folder)]
    if not cfg.get('auto_resume'):
        if found and not cfg.resume_from:
            logger.warning(
                f'{found[0]} is of an earlier run, and this one begins anew: '
                'checkpoints of the same iterations are replaced. '
                '--auto-resume goes on from it.')
        return
    if cfg.resume_from:
        raise ValueError('--auto-resume and --resume-from contradict each '
                         'other: give one.')
    chosen = [None]
    for path in found if env.is_main else ():
        try:
            read_run(path)
            chosen = [path]
            break
        except (ValueError, OSError) as error:
            logger.warning(f'Passed over: {error}')
    if env.distributed:
        dist.broadcast_object_list(chosen, src=0)
    cfg.resume_from, = chosen
    logger.info(f'Going on from {cfg.resume_from}.' if cfg.resume_from else
                f'Nothing to resume in {cfg.work_dir}: the run starts from '
                'its beginning.')


def read_run(path: str) -> dict:
    """Read a checkpoint, with all its checksums, that a run can continue; a
    ValueError says that it is damaged, or holds no training state."""
    content = read_checkpoint(path)
    if 'optimizer' not in content or 'iter' not in content['meta']:
        raise ValueError(
            f'{path} holds weights only, no optimizer and no iteration: use '
            'it with --load-from instead of --resume-from.')
    return content


def check_resumable(model: nn.Module, optimizer, path: str) -> dict:
    """Read a checkpoint that continues a run of exactly this network; a
    ValueError says what does not fit."""
    content = read_run(path)
    weights = content['state_dict'] | (content.get('training_weights') or {})
    state, _ = fit_weights(model, path, {**content, 'state_dict': weights})
    stage = content['meta'].get('mbos_stage')
    differing = sorted(set(model.state_dict()) ^ set(state))
    if differing or stage != model.stage:
        differing.append(f'stage {stage}')
    for name, one in as_dict(optimizer).items():
        groups = value_at(content['optimizer'], f'{name}.param_groups') or []
        sizes = [len(value_at(group, 'params') or ()) for group in groups]
        if sizes != [len(group['params']) for group in one.param_groups]:
            differing.append(f'the parameter groups of the optimizer {name} '
                             '(paramwise_cfg, frozen parts)')
    if differing:
        raise ValueError(
            f'{path} cannot be continued with this config: they differ in '
            f'{first_of(differing)}. Use the config it was trained with, or '
            'start from its weights with --load-from.')
    return content


def run_facts(cfg: Config, env: Environment, train_set) -> dict:
    """What makes a run the run it is, by key with dots; its checkpoints store
    it: settings, number and names of images, and who made pseudo labels."""
    hooks = cfg.get('custom_hooks') or []
    averaging = [h for h in hooks if h.get('type') in _AVERAGING] or [None]
    facts = {key: value_at(cfg, key) for key in _DECIDES}
    facts.update(processes=env.world_size, ema=averaging[0])
    for position, member in enumerate(train_set.datasets):
        names = '\n'.join(member.stems).encode()
        facts[f'images.{position}_{member.name}'] = dict(
            number=len(member),
            names=hashlib.sha256(names).hexdigest()[:16],
            pseudo_labels={
                osp.basename(folder.path): (read_manifest(folder.path)
                                            or {}).get('checkpoint_sha256')
                for folder in member.pseudo.values()
            })
    return _flat(facts)


def check_same_run(stored: dict, facts: dict, cfg: Config,
                   logger: logging.Logger) -> None:
    """Compare a checkpoint's run with the one that shall continue it.

    With ``auto_resume``, differences are errors; a checkpoint that the user
    named continues with a warning, unless optimizers could not use its states.
    """
    path, end = cfg.resume_from, cfg.runner.max_iters
    if stored['iter'] >= end:
        logger.warning(f'{path} is of iteration {stored["iter"]}, and '
                       f'runner.max_iters is {end}: nothing is left to train.')
    changes = compare(stored.get('mbos_run') or facts, facts)
    if 'processes' in changes:
        logger.warning(
            f'{changes.pop("processes")}: an iteration takes another number '
            'of images, from another place of the same random order, and '
            'dropout draws anew. To keep the batch, change '
            'data.samples_per_gpu.')
        changes.pop('data.samples_per_gpu', None)
    if not changes:
        return
    said = f'{path} was saved with other settings: ' + first_of(
        changes.values(), 12)
    if any(k.startswith('optimizer.') and k.endswith(_NEVER) for k in changes):
        raise ValueError(
            f'{said}. The state of an optimizer cannot follow that: restore '
            'them, or start from the weights with --load-from.')
    if cfg.get('auto_resume'):
        raise ValueError(
            f'{said}. Restore them; or, if the change is meant, continue with '
            f'--resume-from {path}, or start anew with another --work-dir.')
    logger.warning(f"{said}. The config's are in force from here on.")


def compare(before: dict, now: dict) -> dict[str, str]:
    """What differs between two nested dicts: a phrase by key with dots."""
    one, two = _flat(before), _flat(now)
    return {
        key: f'{key} was {one.get(key)!r:.60}, is {two.get(key)!r:.60}'
        for key in sorted({*one, *two}) if one.get(key) != two.get(key)
    }


def _flat(value, where: str = '') -> dict:
    """What decides, by key with dots; items of lists are numbered."""
    if isinstance(value, (list, tuple)):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {where: value}
    return {
        key: found
        for name, item in value.items() if name not in _DOES_NOT
        for key, found in _flat(item, f'{where}.{name}'.lstrip('.')).items()
    }
