"""A scripted TransformerEncoder with a padding mask: PyTorch takes it through nested tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import import_torch

torch = import_torch()

import aot  # noqa: E402

MASKS = {
    "padded behind": [[0, 0, 0, 1, 1], [0, 0, 0, 0, 1]],
    "one row whole": [[0, 0, 0, 0, 0], [0, 1, 1, 1, 1]],
    "padded before": [[1, 1, 0, 0, 0], [0, 0, 0, 0, 1]],  # PyTorch then leaves the fast path
    "a gap": [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0]],
    "nothing": [[0, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
}


class Masked(torch.nn.Module):
    def __init__(self, norm_first: bool) -> None:
        super().__init__()
        layer = torch.nn.TransformerEncoderLayer(
            16, 2, 32, activation="gelu", batch_first=True, norm_first=norm_first)
        self.encoder = torch.nn.TransformerEncoder(
            layer, 2, torch.nn.LayerNorm(16), enable_nested_tensor=not norm_first)

    def forward(self, x: torch.Tensor, ignored: torch.Tensor) -> torch.Tensor:
        return self.encoder(x, src_key_padding_mask=ignored)


@pytest.fixture(scope="module", params=[False, True], ids=["post", "pre"])
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("nested") / "encoder.pt"
    torch.jit.script(Masked(request.param).eval()).save(path)
    return path


@pytest.mark.filterwarnings("ignore:.*nested tensors:UserWarning")
def test_outputs_are_pytorchs_for_every_mask(archive: Path) -> None:
    x = torch.randn(2, 5, 16)
    compiled = aot.compile(archive, inputs=["x:f32[2,5,16]", "ignored:bool[2,5]"])
    theirs, ours = torch.jit.load(archive), aot.jit.load(archive)
    for name, rows in MASKS.items():
        mask = torch.tensor(rows, dtype=torch.bool)
        with torch.no_grad():
            expected = theirs(x, mask).numpy()
        found = np.asarray(compiled(x.numpy(), mask.numpy()))
        np.testing.assert_allclose(found, expected, atol=2e-6, err_msg=name)
        with aot.no_grad():
            eager = ours(aot.from_numpy(x.numpy()), aot.from_numpy(mask.numpy()))
        np.testing.assert_allclose(eager.numpy(), expected, atol=2e-6, err_msg=name)
        with_tape = ours(aot.from_numpy(x.numpy()), aot.from_numpy(mask.numpy()))
        expected = theirs(x, mask).detach().numpy()  # gradients: no fast path, nothing is cleared
        np.testing.assert_allclose(with_tape.detach().numpy(), expected, atol=2e-6, err_msg=name)
