"""The page of an evaluation: metrics, curves, calibration, examples.

Made from what ``eval_<set>.json`` holds (docs/evaluation.md), and nothing
else.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .document import render_page, shown_number
from .report_charts import task_charts

ROWS = 200
"""int: Most images in a table of the page; the CSV file has all."""

FOV = '-fov'
CHOSEN = '@val'
OVERVIEW = (('published', 'Dice'), ('comparable', 'Dice-image'), ('comparable',
                                                                  'AP'),
            ('comparable', 'AUC-pooled'), ('comparable', 'Ratio-error'))
"""tuple: Metrics of the table on top, by table and name."""

IMAGE_FIGURES = ('Dice', 'IoU', 'AP', 'AUC', 'Ratio-error')


@dataclass(frozen=True)
class Example:
    """URLs of the pictures of an image, relative to the page."""

    name: str
    photograph: str
    truth: str
    prediction: str


@dataclass(frozen=True)
class Section:
    """One task of one test set.

    Attributes:
        evaluation: Content of the set's ``eval_<set>.json``.
        task: Name of the task.
        colours: CSS colours of its classes in the pictures.
        worst, best: The worst first, and the best first.
        csv: URL of the table of all images.
    """

    evaluation: Mapping
    task: str
    colours: Mapping[str, str] = field(default_factory=dict)
    worst: Sequence[Example] = ()
    best: Sequence[Example] = ()
    csv: str | None = None

    @property
    def content(self) -> Mapping:
        """What the evaluation says of the task."""
        return self.evaluation['tasks'][self.task]


def render_report(sections: Sequence[Section], title: str) -> str:
    """Make the page as HTML, with sections in the order given."""
    evaluations = {s.evaluation['dataset']: s.evaluation for s in sections}
    return render_page(
        'report.html',
        title=title,
        evaluations=list(evaluations.values()),
        checkpoints=list(
            dict.fromkeys((e['checkpoint'], e.get('checkpoint_sha256'))
                          for e in evaluations.values())),
        overview=_overview(sections),
        sections=[_section(s) for s in sections])


def _overview(sections: Sequence[Section]) -> dict:
    """Table of the main metrics, one row per section."""
    shown = [(kind, name) for kind, name in OVERVIEW if any(
        name in s.content.get(kind, {}) for s in sections)]
    rows = []
    for section in sections:
        content, cells = section.content, []
        # a mean over background and one class says little
        columns = ['mean'] * (len(content['classes']) > 1)
        columns += content['classes']
        for kind, name in shown:
            row = content.get(kind, {}).get(name, {})
            cells.append(
                _cell(next((row[c] for c in columns if c in row), None)))
        rows.append(
            dict(
                anchor=anchor(section),
                name=section.evaluation['dataset'],
                task=section.task,
                images=section.evaluation['images'],
                cells=cells))
    return dict(columns=[name for _, name in shown], rows=rows)


def anchor(section: Section) -> str:
    """Name of a section in the page's URL."""
    return f'{section.evaluation["dataset"]}.{section.task}'


def _cell(metric: Mapping | None) -> dict | None:
    """What a table shows of a metric and its interval."""
    if metric is None:
        return None
    ends = [metric.get('low'), metric.get('high')]
    interval = ''
    if all(end is not None for end in ends):
        interval = ' – '.join(shown_number(end, 3) for end in ends)
    return dict(value=shown_number(metric['value']), interval=interval)


def _section(section: Section) -> dict:
    """What the template shows of a section."""
    content = section.content
    rows = sorted(content['per_image'], key=image_rank)
    columns = _image_columns(rows, content['classes'])
    return dict(
        anchor=anchor(section),
        name=section.evaluation['dataset'],
        task=section.task,
        evaluation=section.evaluation,
        classes=[
            dict(name=c, colour=section.colours.get(c))
            for c in content['classes']
        ],
        nested=content['nested'],
        thresholds=content['thresholds'],
        chosen_on=content.get('chosen_on'),
        tables=_tables(content),
        charts=task_charts(content),
        worst=[_example(e, content) for e in section.worst],
        best=[_example(e, content) for e in section.best],
        csv=section.csv,
        columns=columns,
        num_images=len(rows),
        images=[(row['name'], [
            shown_number(row.get(key, {}).get(label))
            for key, label, _ in columns
        ]) for row in rows[:ROWS]])


def overall_dice(row: Mapping) -> float | None:
    """Dice of an image, mean over the classes that are defined in it.

    Undefined ones are None in files and NaN otherwise.
    """
    dice = row['Dice']
    return dice['mean'] if 'mean' in dice else next(iter(dice.values()))


def image_rank(row: Mapping) -> tuple:
    """Key that sorts images, the worst first, undefined ones last."""
    dice = overall_dice(row)
    undefined = dice is None or dice != dice
    return (undefined, 0 if undefined else dice, row['name'])


def choose_examples(rows: Sequence[Mapping],
                    count: int) -> tuple[list[str], list[str]]:
    """Names of the images to show, ``count`` of each kind at most.

    Returns:
        tuple[list[str], list[str]]: The worst, the worst first, and the best,
        the best first; no image is in both, and none without a Dice.
    """
    ranked = [
        row['name'] for row in sorted(rows, key=image_rank)
        if overall_dice(row) is not None
    ]
    worst = ranked[:count]
    return worst, ranked[len(worst):][::-1][:count]


def _example(example: Example, content: Mapping) -> dict:
    row = next(r for r in content['per_image'] if r['name'] == example.name)
    return dict(
        example=example,
        figures=[(name, shown_number(value, 3))
                 for name, value in row['Dice'].items()])


def _tables(content: Mapping) -> list[dict]:
    """Tables of metrics by where they come from."""
    comparable = content['comparable'].items()
    groups = {
        'Published definitions': content['published'],
        'Comparable with other work': {
            k: v
            for k, v in comparable if CHOSEN not in k and FOV not in k
        },
        'Inside the field of view': {
            k: v
            for k, v in comparable if CHOSEN not in k and FOV in k
        },
        'At the threshold chosen on validation images': {
            k: v
            for k, v in comparable if CHOSEN in k
        }
    }
    tables = []
    for name, rows in groups.items():
        columns = [
            c for c in ('background', *content['classes'], 'mean')
            if any(c in row for row in rows.values())
        ]
        if rows:
            tables.append(
                dict(
                    name=name,
                    columns=columns,
                    rows=[(key, [_cell(row.get(c)) for c in columns])
                          for key, row in rows.items()]))
    return tables


def _image_columns(rows, classes) -> list[tuple]:
    """Metric, class and heading of the columns of the table of images."""
    columns = [('Dice', 'mean', 'Dice')] if len(classes) > 1 else []
    for key in IMAGE_FIGURES:
        for label in classes:
            if any(label in row.get(key, {}) for row in rows):
                columns.append((key, label, f'{key} {label}'))
    return columns
