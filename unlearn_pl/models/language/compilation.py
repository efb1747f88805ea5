"""Layer-wise compilation of a model's forward."""

from torch import nn

from unlearn_pl.models.sharding import decoder_layers


def compile_layers(model: nn.Module) -> None:
    """Compile the decoder layers of ``model`` in place; identical layers are compiled once.

    The rest is not compiled, so that hooks, sharding and the output head on labeled positions keep working.
    """
    import torch._functorch.config as functorch

    # A compiled backward may otherwise reuse saved memory, which a second objective on the same forward still needs.
    functorch.donated_buffer = False
    for layer in decoder_layers(model):
        layer.compile()
