"""Share of a model's weights that bitsandbytes has quantized."""

from torch import nn

from unlearn_pl.models.weight_layout import layer_weights, report_share


def check_quantized_share(what: str, model: nn.Module, remedy: str) -> None:
    """Check that bitsandbytes has quantized most of the weights in the layers of ``model``; log the share.

    It replaces linear layers alone: experts that are stored as one parameter, as in Mixtral, stay as they are.

    Args:
        what: what quantizes, for the message.
        model: a model that was loaded quantized.
        remedy: end of the message.

    Raises:
        ValueError: if the share is too small; naming it, and parameters that are not quantized.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    layers = [layer for layer in linear if type(layer).__module__.startswith("bitsandbytes")]
    packed = {names.get(id(layer.weight)) for layer in layers}
    reached = sum(layer.in_features * layer.out_features for layer in layers)
    left = {name: count for name, count in layer_weights(model).items() if name not in packed}
    share = reached / max(1, reached + sum(left.values()))
    report_share(f"{what} quantizes", model, share, sorted(left, key=lambda name: -left[name]), remedy)
