"""Contents of an ``eval_<set>.json``, made up."""


def make_row(index, classes, dice=None, shift=0.0):
    """What an evaluation stores of one image."""
    base = 0.3 + 0.02 * index if dice is None else dice[index]
    names = [*classes, *['mean'] * (len(classes) > 1)]
    values = {name: None if base is None else base + shift for name in names}
    count = dict(tp=50, fp=10 + index, fn=10, tn=1000)
    return dict(
        name=f'eye_{index}',
        image=f'images/eye_{index}.jpg',
        mask=f'ann/eye_{index}.png',
        counts={'0.5': {name: dict(count) for name in classes}},
        **{metric: values for metric in ('Dice', 'IoU', 'AP', 'AUC')}
    )  # yapf: disable


def make_task(classes=('EX', 'HE'), images=12, nested=False, **row):
    """One task of an evaluation; ``row`` goes to :func:`make_row`."""
    rows = [make_row(i, classes, **row) for i in range(images)]
    if nested:
        for row in rows:
            row['Ratio-error'] = {name: 0.1 for name in classes[1:]}
    columns = [*classes, *['mean'] * (len(classes) > 1)]
    # yapf: disable
    curve = dict(
        threshold=[0.9, 0.5, 0.0], false_positive_rate=[0.0, 0.02, 1.0],
        recall=[0.2, 0.8, 1.0], precision=[1.0, 0.8, 0.1],
        positives=100, negatives=900)
    bins = dict(low=[0.0, 0.5], high=[0.5, 1.0], count=[900, 100],
                positives=[20, 80], mean_score=[0.1, 0.9])
    published, comparable = (
        dict.fromkeys(columns, dict(value=v, low=v - 0.05, high=v + 0.05))
        for v in (0.7, 0.65))
    return dict(
        classes=list(classes), nested=nested, ignore_index=255,
        thresholds={'0.5': dict.fromkeys(classes, 0.5)}, chosen_on=None,
        published=dict(Dice=published), comparable=dict(AP=comparable),
        curves=dict.fromkeys(classes, curve),
        calibration=dict.fromkeys(classes, bins), per_image=rows)


def make_evaluation(name='ddr', checkpoint='a.pth', checkpoint_sha256='0' * 64,
                    figures=None, **tasks):
    """The content of a file; tasks by name, or one that is made up."""
    tasks = tasks or dict(lesion=make_task())
    images = max(len(task['per_image']) for task in tasks.values())
    return dict(
        format=2, dataset=name, checkpoint=checkpoint,
        checkpoint_sha256=checkpoint_sha256, config='config.py', images=images,
        bootstrap=dict(resamples=1000, level=0.95, seed=0),
        figures=figures or {}, tasks=tasks)
