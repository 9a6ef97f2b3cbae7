"""Make of a training checkpoint a file to hand on, with a model card.

    mbos publish CHECKPOINT PREFIX [--eval eval_refuge.json]

writes ``PREFIX-<hash>.pth``, weights and meta information only (or, smaller,
``--half --safetensors``), and
``PREFIX-<hash>.md``, which says what the model is, how to use it, and the
metrics that ``tools/test.py --eval`` wrote.
"""
import json
import os.path as osp

from mbos import apis
from mbos.checkpoints import publishing
from mbos.checkpoints.loading import SAFETENSORS
from mbos.checkpoints.settings import settings_meta, settings_of
from mbos.io.files import save_text
from mbos.tasks import build_tasks
from .options import FLAG, make_parser

ARGUMENTS = [
    ('checkpoint', 'checkpoint of a training run', {}),
    ('prefix', 'path of the new files up to the hash', {}),
    ('--eval', 'metrics for the card, as tools/test.py writes them',
     dict(nargs='+', default=[], metavar='JSON')),
    ('--notes', 'what the card shall say of training data and limits',
     dict(default='')),
    ('--config', 'config whose `prediction` (thresholds, postprocessing, '
     "crop) replaces the checkpoint's own, as after choosing thresholds on "
     'validation photographs', {}),
    ('--half', 'weights as 16-bit numbers', FLAG),
    ('--safetensors',
     'write PREFIX-<hash>.safetensors, which other programs read too', FLAG),
    ('--keep-discriminators', 'keep what only further training needs', FLAG),
]


def read_metrics(path: str, checkpoint_sha256: str) -> tuple[str, dict]:
    """Read what ``tools/test.py`` wrote of one test set.

    Raises:
        ValueError: If the file is something else, or of another checkpoint.
    """
    try:
        with open(path, encoding='utf-8') as file:
            content = json.load(file)
        found = content['dataset'], dict(content['figures'])
        evaluated = content.get('checkpoint_sha256', checkpoint_sha256)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path} is not a file of metrics that '
                         'tools/test.py --eval wrote.') from error
    if evaluated != checkpoint_sha256:
        raise ValueError(f'{path} has the metrics of another checkpoint, '
                         f'{content.get("checkpoint")}: evaluate this one.')
    return found


def main() -> None:
    """Publish a checkpoint."""
    args = make_parser(__doc__, ARGUMENTS).parse_args()
    content, notes = publishing.published_content(
        apis.read_checkpoint(args.checkpoint), args.keep_discriminators)
    digest = apis.file_sha256(args.checkpoint)
    metrics = dict(read_metrics(path, digest) for path in args.eval)
    if 'mbos_model' not in content['meta']:
        raise ValueError(
            f'{args.checkpoint} does not describe its network, as those of '
            "PSSNet's authors: convert it with "
            'tools/convert_pssnet_checkpoint.py first.')
    if args.config:
        cfg = apis.load_config(args.config)
        content['meta'].update(
            settings_meta(build_tasks(cfg.model.tasks), settings_of(cfg)))
    if args.half:
        content['state_dict'] = publishing.half_precision(
            content['state_dict'])
    path = publishing.save_with_hash(
        content, args.prefix, SAFETENSORS if args.safetensors else '.pth')
    card = osp.splitext(path)[0] + '.md'
    text = publishing.model_card(path, content, metrics, args.notes)
    save_text(card, text)
    for note in notes:
        print(f'{args.checkpoint}: {note}')
    print(f'wrote {path} and {card}')
