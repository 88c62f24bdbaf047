"""aot.save and aot.load, and PyTorch's on the same files."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import aot
from runtime.errors import ArchiveError, InputError
from tests.conftest import import_torch

torch = import_torch()


def network(m):
    m.manual_seed(0)
    return m.nn.Sequential(m.nn.Linear(3, 4), m.nn.BatchNorm1d(4), m.nn.Sequential(m.nn.ReLU()))


def same(ours, theirs) -> None:
    if isinstance(theirs, torch.Tensor):
        assert str(ours.dtype) == str(theirs.dtype) and ours.stride() == theirs.stride()
        assert ours.requires_grad == theirs.requires_grad
        assert type(ours).__name__ == type(theirs).__name__
        a, b = ours.detach().double(), theirs.detach().double()
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert type(ours).__name__ == type(theirs).__name__ and len(ours) == len(theirs)
        for a, b in zip(ours, theirs):
            same(a, b)
    else:
        assert repr(ours) == repr(theirs)


def values(m):
    x = m.arange(12, dtype=m.float32).reshape(3, 4)
    return {
        "views": [x, x.t(), x[1:, ::2], x],
        "types": [m.ones(2, dtype=d) for d in (m.float64, m.float16, m.bfloat16, m.int64, m.int32,
                                               m.int16, m.int8, m.uint8, m.bool)],
        "grad": m.ones(2, requires_grad=True),
        "parameter": m.nn.Parameter(m.zeros(2)),
        "plain": (1, -5, 2**40, 2.5, None, True, "tëxt", [], {}, (), m.float32, m.Size([2, 3])),
        "state": network(m).state_dict(),
        3: m.tensor(7),
        "empty": m.zeros(0, 3),
        "ordered": OrderedDict(a=1),
    }


def test_pytorch_reads_what_we_write(tmp_path):
    aot.save(values(aot), tmp_path / "values.pt")
    same(aot.load(tmp_path / "values.pt"), torch.load(tmp_path / "values.pt"))
    same(values(aot), torch.load(tmp_path / "values.pt"))


def test_we_read_what_pytorch_writes(tmp_path):
    torch.save(values(torch), tmp_path / "values.pt")
    same(aot.load(tmp_path / "values.pt"), values(torch))


def test_state_dicts_travel_both_ways():
    theirs, ours = network(torch), network(aot)
    with torch.no_grad():
        for p in theirs.parameters():
            p.add_(1)
    file = io.BytesIO()
    torch.save(theirs.state_dict(), file)
    assert str(ours.load_state_dict(aot.load(file.getvalue()))) == "<All keys matched successfully>"
    back = io.BytesIO()
    aot.save(ours.state_dict(), back)
    back.seek(0)
    theirs.load_state_dict(torch.load(back))
    same(ours.state_dict(), theirs.state_dict())


def test_views_share_memory_again(tmp_path):
    x = aot.zeros(4)
    aot.save([x, x[1:]], tmp_path / "views.pt")
    a, b = aot.load(tmp_path / "views.pt")
    b[0] = 5
    assert a.tolist() == [0, 5, 0, 0]


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_nothing_is_executed(tmp_path, capsys):
    torch.save(Evil(), tmp_path / "evil.pt")
    with pytest.raises(ArchiveError, match="nothing was executed"):
        aot.load(tmp_path / "evil.pt")
    assert "executed" not in capsys.readouterr().out


def test_wrong_files(tmp_path):
    (tmp_path / "text.pt").write_text("no archive")
    with pytest.raises(ArchiveError):
        aot.load(tmp_path / "text.pt")
    with pytest.raises(InputError, match="cannot stand in an archive"):
        aot.save(object(), tmp_path / "object.pt")


def test_pickle_and_deepcopy_keep_values():
    x = aot.nn.Parameter(aot.rand(2, 3))
    again = pickle.loads(pickle.dumps(x))
    assert isinstance(again, aot.nn.Parameter) and aot.equal(again, x)
