"""Networks that come with the package, each with a card beside it.

docs/light_network.md says how they are made.
"""
from difflib import get_close_matches
from pathlib import Path

NETWORKS = {'fundus-light': 'fundus_light.safetensors'}
"""dict[str, str]: File of each network by the name that stands for it."""

DEFAULT = 'fundus-light'
"""str: The network that is taken where no checkpoint is given."""


def checkpoint_path(given: str) -> str:
    """The file that is meant by a path or by the name of a network here; a
    FileNotFoundError says which name one that is no file is like."""
    if Path(given).exists():
        return given
    if given not in NETWORKS:
        for near in get_close_matches(str(given), NETWORKS, 1, 0.8):
            raise FileNotFoundError(
                f'{given}: no such file; did you mean {near}?')
        return given
    return str(Path(__file__).parent / NETWORKS[given])


def card_path(name: str) -> str:
    """The card of a network: data, recipe, results, limits."""
    return str(Path(checkpoint_path(name)).with_suffix('.md'))
