"""Which commands the quickstart runs, with which files."""
import os.path as osp
import sys
from collections.abc import Sequence
from pathlib import Path

from mbos.apis import load_config
from mbos.datasets.label_folder import read_entries
from mbos.pseudo_labels.generation import find_image_folders
from mbos.tasks import build_tasks
from prepare_dataset import idrid
from .data import HIDDEN, REAL, SYNTHETIC, VESSELS, find_collections
from .steps import ROOT, Step

STAGES = ('stage1', 'stage2')


class Plan:
    """The steps of a quickstart, by the parsed command line."""

    def __init__(self, args):
        self.args = args
        self.is_real = args.real is not None
        self.kind = 'real' if self.is_real else 'synthetic'
        self.folder = args.out or Path('work_dirs', 'quickstart', self.kind)
        self.raw = find_collections(args.real) if self.is_real else {}
        self.data = self.folder / 'data'
        self.stage1_cfg = self.load('stage1')
        self.stage2_cfg = self.load('stage2')
        self.singles = [] if not self.is_real or args.skip_single else [
            task.name for task in build_tasks(self.stage1_cfg.model.tasks)
        ]

    # --- where things are ---------------------------------------------------

    def config(self, model: str) -> str:
        """Config of a model, relative to the checkout."""
        return f'configs/quickstart/{self.kind}_{model}.py'

    def load(self, model: str):
        """Read the config of a model, completed."""
        return load_config(self.config(model), dict(data_root=str(self.data)))

    def iterations(self, model: str) -> int:
        """How long a model is trained."""
        if model == 'stage2':
            return self.args.iters2 or self.stage2_cfg.runner.max_iters
        return self.args.iters1 or self.stage1_cfg.runner.max_iters

    def checkpoint(self, model: str) -> Path:
        """The last checkpoint of a model."""
        name = f'iter_{self.iterations(model)}.pth'
        subfolder = 'ckpt' if model == 'stage2' else ''
        return self.folder / model / subfolder / name

    # --- the network in the box, and data -----------------------------------

    def first_steps(self) -> list[Step]:
        """A result in seconds, before anything is trained."""
        found = self.folder / 'demo'
        photographs = osp.join(ROOT, 'demo', 'photographs')
        return [
            Step(
                'demo', 'Predict two photographs with the network that comes '
                'with MBOS', _tool('predict.py', photographs, '--out', found),
                found / 'gallery.html', [found])
        ]

    def data_steps(self) -> list[Step]:
        """Steps up to the prepared collections."""
        return self._real_data() if self.is_real else self._synthetic_data()

    def _synthetic_data(self) -> list[Step]:
        options, drawn = [], self.folder / 'collections'
        for name in ('images', 'val_images', 'test_images', 'size'):
            value = getattr(self.args, name)
            if value is not None:
                options += [f'--{name.replace("_", "-")}', value]
        generate = Step(
            'generate', 'Draw photographs in the raw layouts of RETA, DDR, '
            'REFUGE, DRIVE and IDRiD',
            _module('prepare_dataset.synthetic', drawn, *options),
            drawn / 'hidden', [drawn])
        prepare = [
            self._prepare(module, drawn / 'raw' / module.COLLECTION.name)
            for module in SYNTHETIC
        ]
        hidden = Step('hidden', 'Keep the hidden truth to score with',
                      _module('quickstart.data', self.data, drawn),
                      self.data / 'DRIVE-FOVCrop-padding' / 'test' / HIDDEN)
        return [generate, *prepare, hidden]

    def _real_data(self) -> list[Step]:
        size = ('--max-side', self.args.max_side)
        steps = [
            self._prepare(module, self.raw[module.COLLECTION.name].folder,
                          *size) for module in REAL
        ]
        if VESSELS not in self.raw:
            return steps
        root = self.data / idrid.COLLECTION.folder
        raws = [self.raw[name].folder for name in ('IDRiD', VESSELS)]
        return steps + [
            Step(
                'prepare_vessels', 'Prepare the vessel maps of IDRiD',
                _module('prepare_dataset.idrid_vessels', *raws, self.data, *
                        size), root / 'train' / 'vessel',
                [root / 'train' / 'vessel', root / 'test' / 'vessel']),
            Step('hidden', 'Gather the photographs with hidden truth',
                 _module('quickstart.data', self.data),
                 root / HIDDEN / 'images')
        ]

    def _prepare(self, module, raw: Path, *options) -> Step:
        target = self.data / module.COLLECTION.folder
        return Step(module.__name__, f'Prepare {target.name}',
                    _module(module.__name__, raw, self.data, *options),
                    target / 'train', [target])

    # --- training and testing -----------------------------------------------

    def model_steps(self) -> list[Step]:
        """Steps from the prepared collections to scores."""
        start = [] if self.args.from_scratch else [
            '--load-from', self.checkpoint('stage1')
        ]
        steps = [
            self._train('stage1', 'Stage 1: train the pseudo-label generator'),
            Step('pseudo_labels', 'Write the pseudo labels that stage 2 reads',
                 self._pseudo_labels(),
                 self.folder / 'stage1' / 'pseudo_label_report.json'),
            self._train('stage2',
                        'Stage 2: retrain adversarially with pseudo labels',
                        *start)
        ]
        steps += self._evaluations(STAGES)
        if 'idrid_od' in self.test_set_names('stage2'):
            steps.append(
                Step(
                    'evaluate_disc', 'Evaluate stage 2 on the disc masks of '
                    'IDRiD, as the release does', self._test('stage2', '--OD'),
                    self.folder / 'stage2' / 'eval_idrid_od.json'))
        # last, so that doing them later leaves the other steps done
        steps += [
            self._train(f'single_{task}', f'Train on {task} alone')
            for task in self.singles
        ]
        return steps + self._evaluations([f'single_{t}' for t in self.singles])

    def _evaluations(self, models: Sequence[str]) -> list[Step]:
        return [self._evaluate(m) for m in models if self.test_set_names(m)]

    def _evaluate(self, model: str) -> Step:
        names = self.test_set_names(model)
        everything = names == list(self.load(model).test_sets)
        title = model.replace('single_', 'the single-task model of ')
        return Step(
            f'evaluate_{model}', f'Evaluate {title} on {len(names)} test sets',
            self._test(model, '--datasets',
                       *(['all'] if everything else names)),
            self.folder / model / f'eval_{names[-1]}.json')

    def _train(self, model: str, title: str, *options) -> Step:
        script = ('dist_train_gan.sh'
                  if model == 'stage2' else 'dist_train_multi_task.sh')
        iterations, folder = self.iterations(model), self.folder / model
        command = _script(script, self.config(model), 1, '--work-dir', folder,
                          '--seed', self.args.seed, *options)
        command += self._options(f'runner.max_iters={iterations}')
        return Step(model, f'{title}, {iterations} iterations', command,
                    self.checkpoint(model), [folder])

    def _pseudo_labels(self) -> list[str]:
        truth = self.pseudo_label_truth()
        extra = ['--truth', *truth] if truth else []
        return _tool('generate_pseudo_labels.py', self.config('stage2'),
                     self.checkpoint('stage1'), *extra) + self._options()

    def pseudo_label_truth(self) -> list[str]:
        """``--truth`` arguments: full label maps beside the images."""
        found = []
        for folder in find_image_folders(self.stage2_cfg):
            beside = osp.dirname(folder.img_dir)
            for task in (target.task.name for target in folder.targets):
                paths = osp.join(beside, HIDDEN, task), osp.join(beside, task)
                path = next(filter(osp.isdir, paths), None)
                found += [f'{folder.name}.{task}={path}'] * bool(path)
        return found

    def test_set_names(self, model: str) -> list[str]:
        """Test sets that are there and that a model can be scored on."""
        cfg = self.load(model)
        tasks = build_tasks(cfg.model.tasks)
        names = {task.name for task in tasks}
        return [
            name for name, sets in cfg.test_sets.items()
            if set(sets['ann_dirs']) <= names and all(
                osp.isdir(folder.path)
                for folder in read_entries(sets, 'ann_dirs', tasks).values())
        ]

    # --- command lines ------------------------------------------------------

    def _options(self, *options: str) -> list[str]:
        return [
            '--cfg-options', f'data_root={self.data}', *options,
            *self.args.cfg_options
        ]

    def _test(self, model: str, *arguments) -> list[str]:
        return _script('dist_test_gan.sh', self.config(model),
                       self.checkpoint(model), 1, '--eval', 'mIoU', *arguments,
                       '--work-dir', self.folder / model) + self._options()


def _words(*arguments) -> list[str]:
    return [str(argument) for argument in arguments]


def _script(name: str, *arguments) -> list[str]:
    return _words('bash', _tool_path(name), *arguments)


def _tool(name: str, *arguments) -> list[str]:
    return _words(sys.executable, _tool_path(name), *arguments)


def _module(name: str, *arguments) -> list[str]:
    return _words(sys.executable, '-m', name, *arguments)


def _tool_path(name: str) -> str:
    """Path of a tool, relative where the checkout is the working directory."""
    path = osp.join(ROOT, 'tools', name)
    relative = osp.relpath(path)
    return path if relative.startswith('..') else relative
