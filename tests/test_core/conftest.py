import pytest

from tests.tiny_runs import do_not_wait


@pytest.fixture
def no_waiting(monkeypatch):
    """Leave out the second that mmcv's runner waits for at its end."""
    do_not_wait(monkeypatch)
