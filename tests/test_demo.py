"""The notebook runs from its first cell to its last."""
import json
import re
import sys

import pytest
import torch

from mbos.apis import PredictionSettings
from mbos.checkpoints.loading import checkpoint_meta
from tests.tiny_runs import ROOT, TEST
from tests.utils import tiny_model, tiny_model_cfg

nbformat = pytest.importorskip('nbformat')
nbclient = pytest.importorskip('nbclient')
pytest.importorskip('ipykernel')

NOTEBOOK = ROOT / 'demo/quickstart.ipynb'
COMMAND = sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}'


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
    kernel = tmp_path / 'kernels/python3/kernel.json'
    kernel.parent.mkdir(parents=True)
    kernel.write_text(
        json.dumps(dict(argv=COMMAND, display_name='x', language='python')))
    monkeypatch.setenv('JUPYTER_PATH', str(tmp_path))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == 'code']
    assert not any(c.outputs or c.execution_count for c in cells), 'committed'
    nbclient.NotebookClient(
        notebook,
        timeout=120,
        kernel_name='python3',
        resources=dict(metadata=dict(path=str(NOTEBOOK.parent)))).execute()
    outputs = [output for cell in cells for output in cell.outputs]
    text = ''.join(output.get('text', '') for output in outputs)
    assert "lesion ('EX', 'HE', 'SE', 'MA')" in text
    sizes = re.search(
        r'vessel +labels \((\d+, \d+)\) uint8, probabilities \(1, (.*)\)',
        text)
    assert sizes[1] == sizes[2]
    assert 'odoc.cup_to_disc_vertical' in text and 'vessel.density' in text
    assert sum('image/png' in o.get('data', {}) for o in outputs) == 2
