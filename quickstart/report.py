"""The quickstart's end: one table, goals, and where the pictures are."""
from collections.abc import Mapping, Sequence

from mbos.apis import build_test_set
from mbos.datasets.scoring import format_table
from mbos.io.files import save_json, save_text
from mbos.tasks import build_tasks
from .comparison import compare, comparison_table, markdown_table
from .plan import STAGES, Plan

GOALS = {
    ('drive', 'vessel', 'vessel'): 0.60,
    ('refuge', 'odoc', 'disc'): 0.85,
    ('refuge', 'odoc', 'cup'): 0.70,
    ('ddr', 'lesion', 'mean'): 0.30
}
"""dict: By test set, task and class, the least Dice of a final model that has
learnt from the generated photographs."""
HEADINGS = dict(stage1='stage 1', stage2='stage 2')
LEGEND = (
    'Dice, pixels of all images pooled. `constant` is the better of calling '
    'nothing and calling the whole field of view foreground. `hidden`: '
    'training never saw these labels in this collection. The mean is over '
    'the classes that occur.')


def columns(plan: Plan) -> dict[str, dict[str, str]]:
    """Where the scores of each column of the table are, by task."""
    names = [task.name for task in build_tasks(plan.stage2_cfg.model.tasks)]
    found = {}
    if plan.singles:
        found['single-task'] = {
            task: str(plan.folder / f'single_{task}')
            for task in plan.singles
        }
    for stage in STAGES:
        found[HEADINGS[stage]] = dict.fromkeys(names, str(plan.folder / stage))
    return found


def write_report(plan: Plan, times: list[list[str]], note: str,
                 goals: Mapping[tuple, float]) -> bool:
    """Print and write everything; whether all goals are reached."""
    names = plan.test_set_names('stage2')
    datasets = [build_test_set(plan.stage2_cfg, name) for name in names]
    rows = compare(datasets, columns(plan))
    results = check_goals(rows, goals, HEADINGS['stage2'])
    table = comparison_table(rows)
    save_json(
        plan.folder / 'comparison.json',
        dict(note=note, rows=rows, goals=results, seconds=dict(times[1:])))
    pages = [f'{stage}/report.html' for stage in STAGES]
    paragraphs = [
        f'# Quickstart on {plan.kind} photographs', note, LEGEND,
        markdown_table(table), *goal_lines(results),
        *(f'Pictures and curves: [{page}]({page})' for page in pages),
        markdown_table(times)
    ]
    save_text(plan.folder / 'comparison.md', '\n\n'.join(paragraphs) + '\n')
    print(
        format_table(table),
        LEGEND.replace('`', "'"),
        note,
        *goal_lines(results),
        *(f'Pictures and curves: {plan.folder / page}' for page in pages),
        f'Table: {plan.folder / "comparison.md"} and comparison.json',
        f'Next: python tools/predict.py {plan.checkpoint("stage2")} '
        'PHOTOGRAPHS --out predictions',
        sep='\n')
    return all(result['reached'] for result in results)


def check_goals(rows: Sequence[dict], goals: Mapping[tuple, float],
                column: str) -> list[dict]:
    """Hold a column against goals: for each its fields, the ``found`` Dice
    (None where there is no such row) and whether it is ``reached``.
    """
    dice = {
        (r['test_set'], r['task'], r['class']): r['dice'].get(column)
        for r in rows
    }
    results = []
    for key, goal in goals.items():
        fields = dict(zip(('test_set', 'task', 'label'), key))
        found = dice.get(key)
        reached = found is not None and found >= goal
        results.append(dict(fields, goal=goal, found=found, reached=reached))
    return results


def goal_lines(results: Sequence[dict]) -> list[str]:
    """Say of each goal whether it is reached."""
    lines = []
    for r in results:
        found = 'nothing' if r['found'] is None else f'{r["found"]:.3f}'
        verdict = 'reached' if r['reached'] else 'MISSED'
        lines.append(f'Goal {verdict}: {r["test_set"]}, {r["task"]} '
                     f'{r["label"]}: Dice {found}, at least {r["goal"]:.2f} '
                     'expected')
    if results:
        good = all(r['reached'] for r in results)
        lines.append('The final model has learnt.' if good else
                     'The final model has NOT learnt what it should.')
    return lines
