"""Operators under their second names. Compiled by PyTorch and by this project, and compared
(test_script_against_torch.py)."""
import torch
class A(torch.nn.Module):
    def forward(self, x):
        return torch.absolute(x), torch.clip(x, 1), torch.subtract(x, x), torch.true_divide(x, 2), x.multiply_(2), torch.swapaxes(x, 0, 1), torch.concat([x, x])
class B(torch.nn.Module):
    def forward(self, x):
        y = torch.absolute(x)
        return y.greater(2), torch.det(x), x.negative(), torch.moveaxis(x, 0, 1), torch.fix(x), torch.not_equal(x, 3), torch.arctan2(x, x)
MODULES=[A,B]
