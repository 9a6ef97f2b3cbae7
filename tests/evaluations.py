"""Contents of an ``eval_<set>.json``, made up."""


def shifted(value, by):
    """Add to a value; an undefined one stays so."""
    return None if value is None else value + by


def make_row(index, classes, dice=None, shift=0.0):
    """What an evaluation stores of one image."""
    base = 0.3 + 0.02 * index if dice is None else dice[index]
    values = {name: shifted(base, shift) for name in classes}
    if len(classes) > 1:
        values['mean'] = shifted(base, shift)
    wrong = 10 + index
    count = dict(tp=50, fp=wrong, fn=10, tn=1000)
    return dict(
        name=f'eye_{index}',
        image=f'images/eye_{index}.jpg',
        mask=f'ann/eye_{index}.png',
        Dice=values,
        IoU=values,
        AP=values,
        AUC=values,
        counts={'0.5': {
            name: dict(count)
            for name in classes
        }})


def make_figure(value):
    """A value with its interval."""
    return dict(value=value, low=value - 0.05, high=value + 0.05)


def make_task(classes=('EX', 'HE'), images=12, nested=False, **row):
    """One task of an evaluation; ``row`` goes to :func:`make_row`."""
    columns = [*classes, *['mean'] * (len(classes) > 1)]
    rows = [make_row(i, classes, **row) for i in range(images)]
    if nested:
        for row in rows:
            row['Ratio-error'] = {name: 0.1 for name in classes[1:]}
    curve = dict(
        threshold=[0.9, 0.5, 0.0],
        recall=[0.2, 0.8, 1.0],
        precision=[1.0, 0.8, 0.1],
        false_positive_rate=[0.0, 0.02, 1.0],
        positives=100,
        negatives=900)
    bins = dict(
        low=[0.0, 0.5],
        high=[0.5, 1.0],
        count=[900, 100],
        positives=[20, 80],
        mean_score=[0.1, 0.9])
    return dict(
        classes=list(classes),
        nested=nested,
        ignore_index=255,
        thresholds={'0.5': {
            name: 0.5
            for name in classes
        }},
        chosen_on=None,
        published=dict(Dice={name: make_figure(0.7)
                             for name in columns}),
        comparable=dict(AP={name: make_figure(0.65)
                            for name in columns}),
        curves={name: curve
                for name in classes},
        calibration={name: bins
                     for name in classes},
        per_image=rows)


def make_evaluation(name='ddr', checkpoint='a.pth', **tasks):
    """The content of a file; tasks by name, or one that is made up."""
    tasks = tasks or dict(lesion=make_task())
    images = max(len(task['per_image']) for task in tasks.values())
    return dict(
        format=2,
        dataset=name,
        checkpoint=checkpoint,
        checkpoint_sha256='0' * 64,
        config='config.py',
        complete=True,
        images=images,
        images_expected=images,
        bootstrap=dict(resamples=1000, level=0.95, seed=0),
        figures={},
        tasks=tasks)
