"""The results of ``benchmarks/data.py`` as tables for people."""

GOAL = 3.0
"""float: Images per second from the cache over those of the plain way."""


def as_text(report: dict) -> str:
    """The results as tables in Markdown."""
    settings = report['settings']
    lines = [
        f'Photographs: {settings["photographs"]}. Medians of '
        f'{settings["rounds"]} rounds of {settings["samples"]} samples.', ''
    ]
    for name, kinds in report['cases'].items():
        for kind, ways in kinds.items():
            lines += _table_of_ways(f'{name}, {kind}', ways)
            lines += _table_of_transforms(ways)
    if report['loader']:
        step = f'{settings["step_seconds"]} s'
        lines += [
            f'| loader, full size | workers | images/s | a step of {step} '
            'waits |', '|---|---:|---:|---:|'
        ]
        lines += [
            f'| {way} | {n} | {rate["images_per_second"]:.1f} | '
            f'{rate["waited"]:.3f} s |'
            for way, found in report['loader'].items()
            for n, rate in found.items()
        ] + ['']
    return '\n'.join(lines + _text_of_summary(report))


def _table_of_ways(title: str, ways: dict[str, dict]) -> list[str]:
    lines = [
        f'| {title} | images/s | over plain | mean, max difference in grey '
        'values | labels |', '|---|---:|---:|---|---|'
    ]
    for way, case in ways.items():
        labels = 'equal' if case['labels_equal'] else 'DIFFER'
        lines.append(
            f'| {way} | {case["images_per_second"]:.1f} | '
            f'{case["ratio"]:.1f} | {case["mean_grey_difference"]:.2f}, '
            f'{case["max_grey_difference"]} | {labels} |')
    first = ways['cache']['first_seconds']
    return lines + ['', f'While the cache fills: {1 / first:.1f} images/s.']


def _table_of_transforms(ways: dict[str, dict]) -> list[str]:
    names = list(
        dict.fromkeys(n for case in ways.values() for n in case['transforms']))
    lines = [
        '', f'| milliseconds | {" | ".join(ways)} |',
        f'|---|{"---:|" * len(ways)}'
    ]
    for name in names:
        cells = [case['transforms'].get(name) for case in ways.values()]
        texts = ['' if c is None else f'{1e3 * c:.1f}' for c in cells]
        lines.append(f'| {name} | {" | ".join(texts)} |')
    return lines + ['']


def _text_of_summary(report: dict) -> list[str]:
    supply, settings = report['supply'], report['settings']
    lines = [
        f'Images per second of a worker, half of each kind, at full size: '
        f'{report["plain"]["images_per_second"]:.1f} plain, '
        f'{report["cached"]["images_per_second"]:.1f} from the cache: '
        f'{report["ratio"]:.1f} times (goal: {GOAL:.0f}).', '',
        f'A GPU that takes {settings["step_seconds"]} s for '
        f'{settings["images_per_step"]} images (assumed) needs '
        f'{supply["needed"]:.0f} images/s. Four workers, each on a core of '
        'its own, would load (estimated, four times one):', ''
    ]
    for name, ways in supply['by_four_workers'].items():
        rates = ', '.join(f'{way} {rate:.0f}' for way, rate in ways.items())
        lines.append(f'- {name}: {rates}')
    return lines
