"""Templates to HTML, and what they show of files, colours and numbers."""
import os
import os.path as osp
from urllib.parse import quote

import jinja2

from mbos.io.files import DISCLAIMER
from mbos.tasks import Task


def link_to(path: str, folder: str) -> str:
    """The relative URL of a file, as seen from a page in a folder; what has a
    meaning in URLs, such as ``#`` or ``:``, is quoted."""
    return quote(osp.relpath(path, folder).replace(os.sep, '/'))


def css_colours(task: Task) -> list[tuple[str, str]]:
    """Names and CSS colours of a task's classes."""
    return [(name, 'rgb({}, {}, {})'.format(*colour))
            for name, colour in zip(task.classes, task.colours)]


def shown_number(value: float | None, digits: int = 4) -> str:
    """Format a metric; a dash where it is undefined."""
    return '–' if value is None or value != value else f'{value:.{digits}f}'


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader('mbos.pictures'),
    # names of files and classes are text, whatever they look like
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True)
_TEMPLATES.filters |= dict(number=shown_number, colours=css_colours)


def render_page(template: str, **values) -> str:
    """Fill a template of the folder ``templates``; text is escaped."""
    return _TEMPLATES.get_template(template).render(
        disclaimer=DISCLAIMER, **values)
