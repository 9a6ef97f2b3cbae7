"""Make of a training checkpoint a file to hand on, with a model card.

    mbos publish CHECKPOINT PREFIX [--eval eval_refuge.json]

writes ``PREFIX-<hash>.pth``, weights and meta information only (or, smaller,
``--half --safetensors``), and ``PREFIX-<hash>.md``, which says what the model
is, how to use it, and the metrics that ``tools/test.py --eval`` wrote.
"""
import os.path as osp

from mbos import apis
from mbos.checkpoints import publishing
from mbos.checkpoints.loading import SAFETENSORS, read_checkpoint
from mbos.checkpoints.settings import settings_meta, settings_of
from mbos.evaluation.paired_comparison import read_evaluations
from mbos.io.files import save_text
from mbos.tasks import build_tasks
from .options import FLAG, SOME, make_parser

ARGUMENTS = [
    ('checkpoint', 'checkpoint of a training run', {}),
    ('prefix', 'path of the new files up to the hash', {}),
    ('--eval', 'metrics for the card, as tools/test.py writes them',
     dict(SOME, metavar='JSON')),
    ('--notes', 'what the card shall say of training data and limits',
     dict(default='')),
    ('--config', 'config whose `prediction` (thresholds, postprocessing, '
     "crop) replaces the checkpoint's own", {}),
    ('--half', 'weights as 16-bit numbers', FLAG),
    ('--safetensors', 'for other programs too, in place of .pth', FLAG),
]


def main() -> None:
    """Publish a checkpoint."""
    args = make_parser(__doc__, ARGUMENTS).parse_args()
    content, notes = publishing.published_content(
        read_checkpoint(args.checkpoint))
    metrics, digest = {}, apis.file_sha256(args.checkpoint)
    for path in args.eval:
        for name, evaluation in read_evaluations(path).items():
            metrics[name] = evaluation['figures']
            if evaluation['checkpoint_sha256'] != digest:
                raise ValueError(
                    f'{path} has the metrics of another checkpoint, '
                    f'{evaluation["checkpoint"]}: evaluate this one.')
    if 'mbos_model' not in content['meta']:
        raise ValueError(f'{args.checkpoint} does not describe its network: '
                         'convert it with tools/convert_pssnet_checkpoint.py.')
    if args.config:
        cfg = apis.load_config(args.config)
        content['meta'].update(
            settings_meta(build_tasks(cfg.model.tasks), settings_of(cfg)))
    if args.half:
        publishing.halve(content['state_dict'])
    suffix = SAFETENSORS if args.safetensors else '.pth'
    path = publishing.save_with_hash(content, args.prefix, suffix)
    card = osp.splitext(path)[0] + '.md'
    save_text(card, publishing.model_card(path, content, metrics, args.notes))
    for note in notes:
        print(f'{args.checkpoint}: {note}')
    print(f'wrote {path} and {card}')
