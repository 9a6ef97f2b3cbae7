"""Which commands the quickstart runs, with which files."""
import os.path as osp
import sys
from collections.abc import Sequence
from pathlib import Path

from mbos.apis import load_config
from mbos.datasets.label_folder import read_entries
from mbos.pseudo_labels.generation import find_image_folders
from mbos.tasks import build_tasks
from .data import IDRID, VESSELS, find_collections
from .steps import ROOT, Step

FOLDERS = dict(
    reta='RETA',
    ddr='DDR-FOVCrop-padding',
    refuge='REFUGE-FOVCrop-padding',
    drive='DRIVE-FOVCrop-padding',
    idrid=IDRID,
    drishti='Drishti-GS-FOVCrop-padding')
RAW_NAMES = dict(
    reta='RETA', ddr='DDR', refuge='REFUGE', drive='DRIVE', idrid='IDRiD')
MODULES = dict(drishti='drishti_gs')
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
        self.collections = self.folder / 'collections'
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

    def predictions(self, model: str) -> Path:
        """Where a model's label maps and overlays go, by test set."""
        return self.folder / 'predictions' / model

    # --- the network in the box ---------------------------------------------

    def first_steps(self) -> list[Step]:
        """A result in seconds, before anything is trained."""
        found = self.folder / 'demo'
        return [
            Step(
                'demo', 'Predict two photographs with the network that comes '
                'with MBOS',
                self._tool('predict.py', osp.join(ROOT, 'demo', 'photographs'),
                           '--out', found), found / 'gallery.html', [found])
        ]

    # --- preparing data -----------------------------------------------------

    def data_steps(self) -> list[Step]:
        """Steps up to the prepared collections."""
        return self._real_data() if self.is_real else self._synthetic_data()

    def _synthetic_data(self) -> list[Step]:
        options = []
        for name in ('images', 'val_images', 'test_images', 'size'):
            value = getattr(self.args, name)
            if value is not None:
                options += [f'--{name.replace("_", "-")}', value]
        return [
            Step(
                'generate', 'Draw photographs in the raw layouts of RETA, '
                'DDR, REFUGE, DRIVE and IDRiD',
                self._module('prepare_dataset.synthetic', self.collections,
                             *options), self.collections / 'synthetic.json',
                [self.collections]),
            *(self._prepare(key, self.collections / 'raw' / name)
              for key, name in RAW_NAMES.items()),
            Step(
                'hidden', 'Keep the hidden truth to score with',
                self._module('quickstart.data', 'synthetic', self.collections,
                             self.data),
                self.data / FOLDERS['drive'] / 'test' / 'hidden')
        ]

    def _real_data(self) -> list[Step]:
        size = ('--max-side', self.args.max_side)
        steps = [
            self._prepare(key, found.folder, *size)
            for key, found in self.raw.items() if key != VESSELS
        ]
        if VESSELS not in self.raw:
            return steps
        root = self.data / IDRID
        return steps + [
            Step(
                'prepare_vessels', 'Prepare the vessel maps of IDRiD',
                self._module('prepare_dataset.idrid_vessels',
                             self.raw['idrid'].folder,
                             self.raw[VESSELS].folder, self.data, *size),
                root / 'train' / 'vessel',
                [root / 'train' / 'vessel', root / 'test' / 'vessel']),
            Step('hidden', 'Gather the photographs with hidden truth',
                 self._module('quickstart.data', 'real', self.data),
                 root / 'hidden' / 'images')
        ]

    def _prepare(self, key: str, raw: Path, *options) -> Step:
        target = self.data / FOLDERS[key]
        module = MODULES.get(key, key)
        return Step(
            f'prepare_{key}', f'Prepare {target.name}',
            self._module(f'prepare_dataset.{module}', raw, self.data,
                         *options), target / 'train', [target])

    # --- training and testing -----------------------------------------------

    def model_steps(self) -> list[Step]:
        """Steps from the prepared collections to scores and predictions."""
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
            steps.append(self._disc_test())
        steps += [self._visualise(model) for model in STAGES]
        # last, so that doing them later leaves the other steps done
        steps += [
            self._train(f'single_{task}', f'Train on {task} alone')
            for task in self.singles
        ]
        return steps + self._evaluations([f'single_{t}' for t in self.singles])

    def _evaluations(self, models: Sequence[str]) -> list[Step]:
        return [self._evaluate(m) for m in models if self.test_set_names(m)]

    def _train(self, model: str, title: str, *options) -> Step:
        script = ('dist_train_gan.sh'
                  if model == 'stage2' else 'dist_train_multi_task.sh')
        iterations = self.iterations(model)
        return Step(
            model, f'{title}, {iterations} iterations',
            self._script(script, self.config(model), 1, '--work-dir',
                         self.folder / model, '--seed', self.args.seed, *
                         options) +
            self._options(f'runner.max_iters={iterations}'),
            self.checkpoint(model), [self.folder / model])

    def _pseudo_labels(self) -> list[str]:
        truth = self.pseudo_label_truth()
        extra = ['--truth', *truth] if truth else []
        return self._tool('generate_pseudo_labels.py', self.config('stage2'),
                          self.checkpoint('stage1'), *extra) + self._options()

    def pseudo_label_truth(self) -> list[str]:
        """``--truth`` arguments: full label maps beside the images."""
        found = []
        for folder in find_image_folders(self.stage2_cfg):
            beside = osp.dirname(folder.img_dir)
            for target in folder.targets:
                task = target.task.name
                for path in (osp.join(beside, 'hidden',
                                      task), osp.join(beside, task)):
                    if osp.isdir(path):
                        found.append(f'{folder.name}.{task}={path}')
                        break
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

    def _evaluate(self, model: str) -> Step:
        names = self.test_set_names(model)
        everything = names == list(self.load(model).test_sets)
        return Step(
            f'evaluate_{model}',
            f'Evaluate {_title(model)} on {len(names)} test sets',
            self._test(model, '--eval', 'mIoU', '--datasets',
                       *(['all'] if everything else names)),
            self.folder / model / f'eval_{names[-1]}.json')

    def _disc_test(self) -> Step:
        return Step(
            'evaluate_disc', 'Evaluate stage 2 on the disc masks of '
            'IDRiD, as the release does',
            self._test('stage2', '--eval', 'mIoU', '--OD'),
            self.folder / 'stage2' / 'eval_idrid_od.json')

    def _visualise(self, model: str) -> Step:
        folder = self.predictions(model)
        names = self.image_sets()
        return Step(
            f'visualise_{model}', f'Draw the predictions of {_title(model)}',
            self._test(model, '--vis', '--output_dir', folder, '--datasets',
                       *names), folder / names[-1] / 'overlays', [folder])

    def image_sets(self) -> list[str]:
        """One test set of each image folder."""
        sets = self.stage2_cfg.test_sets
        first: dict[str, str] = {}
        for name in self.test_set_names('stage2'):
            first.setdefault(sets[name]['img_dir'], name)
        return list(first.values())

    # --- command lines ------------------------------------------------------

    def _options(self, *options: str) -> list[str]:
        return [
            '--cfg-options', f'data_root={self.data}', *options,
            *self.args.cfg_options
        ]

    def _test(self, model: str, *arguments) -> list[str]:
        return self._script(
            'dist_test_gan.sh', self.config(model), self.checkpoint(model), 1,
            *arguments, '--work-dir', self.folder / model) + self._options()

    def _script(self, name: str, *arguments) -> list[str]:
        return _words('bash', _tool_path(name), *arguments)

    def _tool(self, name: str, *arguments) -> list[str]:
        return _words(sys.executable, _tool_path(name), *arguments)

    def _module(self, name: str, *arguments) -> list[str]:
        return _words(sys.executable, '-m', name, *arguments)


def _tool_path(name: str, start: str | None = None) -> str:
    """Path of a tool, relative where the checkout is the working directory."""
    path = osp.join(ROOT, 'tools', name)
    relative = osp.relpath(path, start)
    return path if relative.startswith('..') else relative


def _title(model: str) -> str:
    """A model's name for people: 'stage 1', 'the vessel model'."""
    if model in STAGES:
        return f'stage {model[-1]}'
    return f'the {model.replace("single_", "")} model'


def _words(*arguments) -> list[str]:
    return [str(argument) for argument in arguments]
