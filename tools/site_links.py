"""A hook of mkdocs: links that leave docs/ lead to the repository.

On a file viewer ``[code](../mbos/tasks.py)`` works as it is; the site holds
docs/ only, so there it becomes ``[code](REPO_URL/blob/main/mbos/tasks.py)``,
or the text alone where ``repo_url`` of mkdocs.yml is empty.
"""
import re

LEAVING = re.compile(r'\[([^\[\]]+)\]\(\.\./([^)\s]+)\)')


def rewrite(markdown: str, repo_url: str) -> str:
    """The page with every link to ``../`` made absolute, or made text."""
    if not repo_url:
        return LEAVING.sub(r'\1', markdown)
    base = f'{repo_url.rstrip("/")}/blob/main'
    return LEAVING.sub(rf'[\1]({base}/\2)', markdown)


def on_page_markdown(markdown: str, config, **kwargs) -> str:
    """Called by mkdocs for every page."""
    return rewrite(markdown, config['repo_url'])
