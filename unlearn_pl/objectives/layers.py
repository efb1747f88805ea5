"""Names of the hidden-state fields that objectives need."""


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
