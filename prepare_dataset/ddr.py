"""DDR: lesions, 383 training, 149 validation and 225 test photographs.

    python -m prepare_dataset.ddr RAW OUT

RAW holds ``lesion_segmentation/{train,valid,test}/image/007-1774-100.jpg`` and
masks ``{train,test}/label/{EX,HE,MA,SE}/007-1774-100.tif``, which are called
``valid/segmentation label/...`` for validation. Copies that call the folders
``val``, ``images``, ``labels`` or ``annotations``, put the split below, or
have photographs beside the folders of lesions, are understood.
"""
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .cli import main
from .description import Collection, Labels, Split
from .labels import merge
from .layout import Plane, find_by_names

LESIONS = dict(
    EX={'ex', 'hard exudates', 'hard_exudates', 'hardexudates', 'exudates'},
    HE={'he', 'haemorrhages', 'hemorrhages', 'haemorrhage', 'hemorrhage'},
    SE={'se', 'soft exudates', 'soft_exudates', 'softexudates'},
    MA={'ma', 'microaneurysms', 'microaneurysm'})
"""dict[str, set]: What the lesions' folders are called, in lower case."""
OTHERS = {'dr_grading', 'lesion_detection'}
"""set: Parts of the archive that hold photographs of the same names."""
PLANES = dict(ann=Plane(merge, tuple(LESIONS)))


def kind_of(path: Path, folders: Sequence[str]) -> tuple[str, str] | None:
    """See ``layout.KindOf``."""
    if OTHERS & set(folders):
        return None
    bare, _, ending = path.stem.rpartition('_')
    for lesion, names in LESIONS.items():
        if ending.lower() in names:
            return lesion, bare
        if names & set(folders):
            return lesion, path.stem
    return 'images', path.stem


find = partial(find_by_names, kind_of=kind_of, planes=PLANES)
COLLECTION = Collection(
    'DDR',
    'DDR-FOVCrop-padding',
    find,
    dict(train=Split(383), val=Split(149), test=Split(225)),
    labels=dict(ann=Labels(4, may_be_empty=True, task='lesion')))

if __name__ == '__main__':
    main(COLLECTION, __doc__)
