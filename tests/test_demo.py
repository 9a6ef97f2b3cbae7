"""The notebook runs from its first cell to its last."""
import json
import re
import sys
from pathlib import Path

import pytest
import torch

from mbos.apis import PredictionSettings
from mbos.checkpoints.loading import checkpoint_meta
from tests.tiny_runs import TEST
from tests.utils import tiny_model, tiny_model_cfg

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')

NOTEBOOK = Path(__file__).resolve().parents[1] / 'demo/quickstart.ipynb'


def test_no_outputs_are_committed():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == 'code':
            assert not cell.outputs and cell.execution_count is None


def test_notebook_runs(tmp_path, monkeypatch):
    """With a small network given, and the photograph in the box."""
    model = tiny_model(window=8)
    cfg = json.loads(json.dumps(tiny_model_cfg(window=8)))
    meta = checkpoint_meta(model, cfg, PredictionSettings(pipeline=TEST))
    torch.save(
        dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'm.pth')
    monkeypatch.setenv('MBOS_CHECKPOINT', str(tmp_path / 'm.pth'))
    monkeypatch.delenv('MBOS_PHOTOGRAPH', raising=False)
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    # a kernel of this very Python, whatever is registered on the machine
    kernels = tmp_path / 'kernels/python3'
    kernels.mkdir(parents=True)
    (kernels / 'kernel.json').write_text(
        json.dumps(
            dict(
                argv=[
                    sys.executable, '-m', 'ipykernel_launcher', '-f',
                    '{connection_file}'
                ],
                display_name='tests',
                language='python')))
    monkeypatch.setenv('JUPYTER_PATH', str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name='python3',
        resources=dict(metadata=dict(path=str(NOTEBOOK.parent)))).execute()
    outputs = [
        output for cell in notebook.cells if cell.cell_type == 'code'
        for output in cell.outputs
    ]
    text = ''.join(o.get('text', '') for o in outputs)
    assert "lesion ('EX', 'HE', 'SE', 'MA')" in text
    sizes = re.search(
        r'vessel +labels \((\d+, \d+)\) uint8, probabilities \(1, (.*)\)',
        text)
    assert sizes[1] == sizes[2]
    assert 'odoc.cup_to_disc_vertical' in text and 'vessel.density' in text
    pictures = [o for o in outputs if 'image/png' in o.get('data', {})]
    assert len(pictures) == 2
