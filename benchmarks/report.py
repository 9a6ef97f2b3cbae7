"""The benchmark's goals and its table for people."""
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import data_report


@dataclass(frozen=True)
class Goal:
    """A bound on the ratio of two values.

    Attributes:
        name (str): What people read.
        case (str): The case that it belongs to.
        ratio (callable): From the case's results to the ratio.
        bound (float): The ratio's bound.
        at_most (bool): Whether it is an upper bound.
        sides (frozenset[str]): What has to be measured for it.
    """

    name: str
    case: str
    ratio: Callable[[dict[str, dict]], float]
    bound: float
    at_most: bool = True
    sides: frozenset[str] = frozenset()


def _goal(name: str, case: str, figure: str, side: str, other: str, *bound):
    """A bound on a value of one side over that of another."""
    return Goal(
        name,
        case,
        lambda sides: sides[side][figure] / sides[other][figure],
        *bound,
        sides=frozenset((side, other)))


GOALS = (
    _goal('stage-2 step, time over the baseline\'s', 'stage2', 'seconds',
          'ours', 'baseline', 0.65),
    _goal('stage-2 step, peak memory over the baseline\'s', 'stage2',
          'peak_mb', 'ours', 'baseline', 0.30),
    _goal('low-memory stage 2, peak memory over the baseline\'s', 'stage2',
          'peak_mb', 'low_memory', 'baseline', 0.20),
    _goal('low-memory stage 2, time over our own', 'stage2', 'seconds',
          'low_memory', 'ours', 1.35),
    _goal('stage-1 step, time over the baseline\'s', 'stage1', 'seconds',
          'ours', 'baseline', 0.80),
    _goal('inference, time over the baseline\'s', 'inference', 'seconds',
          'ours', 'baseline', 0.60),
    _goal('two processes, images per second over one\'s', 'processes',
          'images_per_second', 'two', 'one', 1.0, False),
    Goal('data loading, images per second over the plain pipeline\'s', 'data',
         lambda data: data['ratio'], data_report.GOAL, False),
)


def judge(cases: dict[str, dict[str, dict]]) -> list[dict]:
    """Compare results with the goals of their cases.

    Args:
        cases (dict): By case and side, the values.

    Returns:
        list[dict]: Per goal ``name``, ``value``, ``bound``, ``at_most`` and
        ``reached``.
    """
    found = []
    for goal in GOALS:
        if goal.case in cases and goal.sides <= set(cases[goal.case]):
            value = goal.ratio(cases[goal.case])
            reached = (
                value <= goal.bound if goal.at_most else value >= goal.bound)
            found.append(
                dict(
                    name=goal.name,
                    value=value,
                    bound=goal.bound,
                    at_most=goal.at_most,
                    reached=reached))
    return found


def describe(goal: dict) -> str:
    """A goal and what was measured, in one line."""
    sign = 'at most' if goal['at_most'] else 'at least'
    return (f'{goal["name"]}: {goal["value"]:.3f}, goal {sign} '
            f'{goal["bound"]:.2f}')


def as_text(report: dict) -> str:
    """The values and the goals as Markdown tables.

    Args:
        report (dict): ``settings``, ``cases``, ``goals``.
    """
    settings = report['settings']
    size, large = settings['size'], settings['inference_size']
    lines = [
        f'Training images {size}x{size}, inference {large}x{large}, '
        f'{settings["device"]}, {settings["threads"]} threads, '
        f'{settings["precision"]}, median of {settings["steps"]} steps', '',
        '| case | side | seconds | CPU s | images/s | peak MB '
        '| without libraries | TFLOP | share of the floor |',
        '|---|---|---:|---:|---:|---:|---:|---:|---:|'
    ]
    for case, sides in report['cases'].items():
        if case == 'data':
            continue
        lines += [_row(case, side, result) for side, result in sides.items()]
    rates = [
        sides['ours']['matmul_rate'] / 1e9
        for case, sides in report['cases'].items() if 'ours' in sides
    ]
    if rates:
        lines += [
            '', f'Float32 matrix products: {max(rates):.0f} GFLOP/s. The '
            'floor is the time of our matrix products and convolutions, '
            'forward and backward, at that rate.'
        ]
    if 'data' in report['cases']:
        lines += ['', data_report.as_text(report['cases']['data'])]
    lines += ['', '| goal | measured | bound | |', '|---|---:|---:|---|']
    for goal in report['goals']:
        sign = '<=' if goal['at_most'] else '>='
        word = 'reached' if goal['reached'] else 'MISSED'
        lines.append(f'| {goal["name"]} | {goal["value"]:.3f} | {sign} '
                     f'{goal["bound"]:.2f} | {word} |')
    return '\n'.join(lines)


def _row(case: str, side: str, result: dict) -> str:
    flops = f'{result["flops"] / 1e12:.2f}' if 'flops' in result else ''
    floor = f'{result["floor"]:.0%}' if 'floor' in result else ''
    net = result['peak_mb'] - result['libraries_mb']
    return (f'| {case} | {side} | {result["seconds"]:.2f} | '
            f'{result["cpu_seconds"]:.2f} | '
            f'{result["images_per_second"]:.2f} | {result["peak_mb"]:.0f} | '
            f'{net:.0f} | {flops} | {floor} |')
