"""The operators. Importing this package fills the table (lowering/ops/table.py)."""

from lowering.ops import activation
from lowering.ops import loss_class  # noqa: F401
from lowering.ops import loss  # noqa: F401
from lowering.ops import embedding  # noqa: F401
from lowering.ops import recurrent_cell  # noqa: F401
from lowering.ops import recurrent  # noqa: F401
from lowering.ops import attention_transformer  # noqa: F401
from lowering.ops import attention  # noqa: F401
from lowering.ops import interpolation_grid  # noqa: F401
from lowering.ops import vision  # noqa: F401
from lowering.ops import interpolation_antialias  # noqa: F401
from lowering.ops import interpolation  # noqa: F401
from lowering.ops import pooling_adaptive  # noqa: F401
from lowering.ops import pooling  # noqa: F401
from lowering.ops import normalization_batch  # noqa: F401
from lowering.ops import normalization  # noqa: F401
from lowering.ops import convolution_transposed  # noqa: F401
from lowering.ops import convolution  # noqa: F401
from lowering.ops import padding  # noqa: F401
from lowering.ops import matmul_einsum  # noqa: F401
from lowering.ops import matmul  # noqa: F401
from lowering.ops import matmul_inverse  # noqa: F401
from lowering.ops import arithmetic  # noqa: F401
from lowering.ops import bitwise  # noqa: F401
from lowering.ops import comparison  # noqa: F401
from lowering.ops import conversion  # noqa: F401
from lowering.ops import creation  # noqa: F401
from lowering.ops import random  # noqa: F401
from lowering.ops import random_choice  # noqa: F401
from lowering.ops import dropout  # noqa: F401
from lowering.ops import elementary  # noqa: F401
from lowering.ops import extreme  # noqa: F401
from lowering.ops import power  # noqa: F401
from lowering.ops import reduction  # noqa: F401
from lowering.ops import slicing  # noqa: F401
from lowering.ops import softmax  # noqa: F401
from lowering.ops import statistics  # noqa: F401
from lowering.ops import view  # noqa: F401
from lowering.ops import indexing  # noqa: F401
from lowering.ops import joining  # noqa: F401
from lowering.ops import masking  # noqa: F401
from lowering.ops import scan  # noqa: F401
from lowering.ops import scattering  # noqa: F401
from lowering.ops import sorting  # noqa: F401
from lowering.ops import counting  # noqa: F401
from lowering.ops import integration  # noqa: F401
from lowering.ops import vector  # noqa: F401
from lowering.ops import view_copy  # noqa: F401
from lowering.ops import windows  # noqa: F401
from lowering.ops import quantile  # noqa: F401
from lowering.ops import deformable  # noqa: F401
from lowering.ops import detection  # noqa: F401
from lowering.ops import roi  # noqa: F401
from lowering.ops.table import TABLE, Entry, aten

__all__ = ["TABLE", "Entry", "activation", "aten"]
