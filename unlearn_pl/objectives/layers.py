"""Names of the hidden-state fields that objectives need."""

from collections.abc import Sequence


def hidden_needs(layer: int, *, reference: bool) -> frozenset[str]:
    """Fields of the view that hold the hidden states of ``layer``.

    Args:
        layer: entry of transformers' ``hidden_states``: 0 is the embedding, ``n`` the output of the n-th layer, the
            last one that of the final norm. The output of module ``model.layers.7`` is therefore entry 8.
        reference: whether the reference model's hidden states are needed as well.

    Raises:
        ValueError: if ``layer`` is negative.
    """
    if layer < 0:
        raise ValueError(f"layer is {layer}, but must be 0 (the embedding) or the number of a layer.")
    own = f"hidden.{layer}"
    return frozenset({own, f"ref_{own}"} if reference else {own})


def needs_of_layers(layers: Sequence[int]) -> frozenset[str]:
    """Fields of the view that hold the hidden states of several layers, of the model and of the reference model.

    Args:
        layers: entries of transformers' ``hidden_states``, see :func:`hidden_needs`.

    Raises:
        ValueError: if no layer is given, one is given twice, or is negative.
    """
    if not layers or len(set(layers)) < len(layers):
        raise ValueError(f"layers are {list(layers)}; accepted: at least one, none of them twice.")
    return frozenset[str]().union(*(hidden_needs(layer, reference=True) for layer in layers))
