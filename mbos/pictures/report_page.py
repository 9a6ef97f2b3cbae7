"""The page of an evaluation: metrics, curves, calibration, examples.

Made from what ``eval_<set>.json`` holds (docs/evaluation.md), and nothing
else.
"""
from collections import namedtuple
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .charts import task_charts
from .document import render_page

ROWS = 200  # at most in a table of images; the CSV file has all
COMPARABLE = ('Dice-image', 'AP', 'AUC-pooled', 'Ratio-error')
OVERVIEW = [('published', 'Dice'), *(('comparable', n) for n in COMPARABLE)]
"""list: Metrics of the table on top, by table and name."""
Example = namedtuple('Example', 'name photograph truth prediction')
"""Name of an image and URLs of its pictures, relative to the page."""
IMAGE_FIGURES = ('Dice', 'IoU', 'AP', 'AUC', 'Ratio-error')


@dataclass
class Section:
    """One task of one test set, of whose ``eval_<set>.json`` the content is
    ``evaluation``: CSS colours of the classes in the pictures, the worst and
    the best images, and the URL of the table of all."""

    evaluation: Mapping
    task: str
    colours: Mapping[str, str] = field(default_factory=dict)
    worst: Sequence[Example] = ()
    best: Sequence[Example] = ()
    csv: str | None = None

    def __post_init__(self):
        self.content = self.evaluation['tasks'][self.task]
        self.anchor = f'{self.evaluation["dataset"]}.{self.task}'
        self.charts = task_charts(self.content)

    def main_value(self, kind: str, name: str) -> Mapping | None:
        """A metric's mean, or its value for the first class that has one."""
        classes = self.content['classes']
        row = self.content.get(kind, {}).get(name, {})
        # a mean over background and one class says little
        columns = [*['mean'] * (len(classes) > 1), *classes]
        return next((row[c] for c in columns if c in row), None)

    def tables(self) -> dict[str, tuple[list[str], dict]]:
        """Columns and rows of the tables of metrics, by their headings."""
        groups = {'Published definitions': self.content['published']}
        for key, row in self.content['comparable'].items():
            name = 'Comparable with other work'
            if '@val' in key:
                name = 'At the threshold chosen on validation images'
            elif '-fov' in key:
                name = 'Inside the field of view'
            groups.setdefault(name, {})[key] = row
        tables = {}
        for name, rows in groups.items():
            known = {column for row in rows.values() for column in row}
            columns = ('background', *self.content['classes'], 'mean')
            tables[name] = [c for c in columns if c in known], rows
        return tables

    def images(self) -> tuple[list[tuple[str, str]], list[dict]]:
        """Metric and class of the columns of the table of images, and its
        rows, the worst first."""
        classes = self.content['classes']
        rows = sorted(self.content['per_image'], key=image_rank)
        columns = [('Dice', 'mean')] * (len(classes) > 1)
        columns += [(key, label) for key in IMAGE_FIGURES for label in classes
                    if any(label in row.get(key, {}) for row in rows)]
        return columns, rows


def render_report(sections: Sequence[Section], title: str) -> str:
    """Make the page as HTML, with sections in the order given."""
    checkpoints = dict.fromkeys(
        (s.evaluation['checkpoint'], s.evaluation.get('checkpoint_sha256'))
        for s in sections)
    overview = [metric for metric in OVERVIEW
                if any(s.main_value(*metric) for s in sections)
                ]  # yapf: disable
    values = dict(checkpoints=checkpoints, overview=overview, most=ROWS)
    return render_page('report.html', title=title, sections=sections, **values)


def overall_dice(row: Mapping) -> float | None:
    """Dice of an image, mean over the classes that are defined in it; if none
    is, None as files have it, or NaN."""
    dice = row['Dice']
    return dice['mean'] if 'mean' in dice else next(iter(dice.values()))


def image_rank(row: Mapping) -> tuple:
    """Key that sorts images, the worst first, undefined ones last."""
    dice = overall_dice(row)
    undefined = dice is None or dice != dice
    return (undefined, 0 if undefined else dice, row['name'])


def choose_examples(rows: Sequence[Mapping],
                    count: int) -> tuple[list[str], list[str]]:
    """Names of the images to show, ``count`` of each kind at most: the worst,
    the worst first, and the best, the best first. No image is in both, and
    none without a Dice."""
    ranked = [row['name'] for row in sorted(rows, key=image_rank)
              if overall_dice(row) is not None]  # yapf: disable
    worst = ranked[:count]
    return worst, ranked[len(worst):][::-1][:count]
