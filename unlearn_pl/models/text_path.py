"""Parameters of multimodal models that texts do not reach."""

from typing import TYPE_CHECKING, cast

from torch import nn

from unlearn_pl.models.adapters import has_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def off_text_path(model: nn.Module) -> list[str]:
    """Names of the parameters that no text reaches: of vision and audio towers, and of cross-attention to them.

    Args:
        model: a model of transformers, also with adapters.

    Returns:
        The names in ``model.named_parameters()``; none for a model of texts alone.
    """
    base = cast("PreTrainedModel", model.get_base_model() if has_adapter(model) else model)
    config = getattr(base, "config", None)
    if config is None or not hasattr(base, "get_decoder") or config.get_text_config() is config:
        return []
    parts = [base.get_decoder(), base.get_input_embeddings(), base.get_output_embeddings()]
    reached = {id(p) for part in parts if isinstance(part, nn.Module) for p in part.parameters()}
    layers = getattr(parts[0], "layers", None)
    for number in getattr(config.get_text_config(), "cross_attention_layers", None) or ():  # Llama 3.2 Vision
        reached -= {id(p) for p in layers[number].parameters()} if isinstance(layers, nn.ModuleList) else set()
    return [name for name, parameter in model.named_parameters() if id(parameter) not in reached]
