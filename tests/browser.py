"""Pages in a headless Chromium, opened from disk."""
import contextlib
import functools
import html
import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import quote

import pytest

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), NAMES[0])
FLAGS = ('--headless', '--no-sandbox', '--disable-gpu', '--no-first-run',
         '--disable-background-networking', '--disable-component-update',
         '--disable-sync', '--disable-quic', '--disable-dev-shm-usage',
         '--hide-scrollbars', '--enable-logging=stderr',
         '--virtual-time-budget=5000')
REFERENCES = '''[...document.querySelectorAll('[src], [href]')].map(
    (e) => e.src || e.href)'''
"""str: All that a page loads or links to, as whole URLs."""
BROKEN = '''[...document.images].filter((i) => !i.naturalWidth).map(
    (i) => i.src)'''
"""str: Pictures that were not loaded."""


@functools.cache
def starts():
    """Whether there is a Chromium that starts on this machine."""
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return '<p>here' in _opened('data:text/html,<p>here')[0]


def _opened(url, width=1200):
    """What a page has become, and its console's lines."""
    with tempfile.TemporaryDirectory() as profile:
        command = [
            CHROMIUM, *FLAGS, f'--user-data-dir={profile}',
            f'--window-size={width},900', '--dump-dom', url
        ]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60)
    return done.stdout, re.findall(r'CONSOLE[^\]]*\] (.*)', done.stderr)


def ask_page(path, question, fragment='', actions='', width=1200):
    """Value of ``question``, an expression of JavaScript, on a loaded page and
    after ``actions``, statements that may ``await``; the console must
    stay empty."""
    if not starts():
        pytest.skip('no chromium; on Debian: apt-get install chromium')
    copy = Path(path).with_name(f'asked_{Path(path).name}')
    copy.write_text(
        Path(path).read_text(encoding='utf-8') + f'''<script>
        addEventListener('load', async () => {{
            {actions};
            document.documentElement.dataset.answer =
                JSON.stringify({question});
        }});</script>''',
        encoding='utf-8')
    try:
        url = f'file://{quote(str(copy.resolve()))}#{fragment}'
        dom, console = _opened(url.rstrip('#'), width)
    finally:
        copy.unlink()
    assert not console, console
    answer = re.search(r'<html[^>]* data-answer="([^"]*)"', dom)
    assert answer, dom[:2000]
    return json.loads(html.unescape(answer.group(1)))


def external_references(text):
    """What a page would load from elsewhere."""
    pattern = (r'(?:src|href|url|@import)\s*[=(]?\s*["\']?'
               r'((?:https?:)?//[^"\'\s)]+)')
    return re.findall(pattern, text)
