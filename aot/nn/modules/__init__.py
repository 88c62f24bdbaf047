"""The layers, a file a kind."""

from aot.nn.modules import (
    activation, batchnorm, channelshuffle, container, conv, distance, dropout, flatten, fold,
    instancenorm, linear, loss, loss_sequences, module, normalization, padding, pixelshuffle,
    pooling, rnn, rnn_cell, sparse, transformer, unpooling, upsampling,
)  # fmt: skip

_FILES = (
    module, container, linear, conv, activation, batchnorm, instancenorm, normalization, dropout,
    pooling, padding, upsampling, pixelshuffle, channelshuffle, flatten, fold, distance, loss, rnn,
    rnn_cell, sparse, transformer, unpooling, loss_sequences,
)
LAYERS = {
    name: value
    for file in _FILES
    for name, value in vars(file).items()
    if isinstance(value, type) and issubclass(value, module.Module) and not name.startswith("_")
}
