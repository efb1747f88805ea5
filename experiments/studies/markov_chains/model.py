"""The small transformer of the study, in the shape of a causal language model of transformers.

A model of your own needs no more: a forward that takes ``input_ids`` and ``attention_mask`` and gives ``logits``, and
an output layer called ``lm_head``.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from experiments.studies.markov_chains.chain import STATES


class MarkovConfig(PreTrainedConfig):
    """Sizes of a :class:`MarkovTransformer`."""

    model_type = "markov_transformer"
    vocab_size: int = STATES
    hidden_size: int = 128
    num_hidden_layers: int = 4
    max_position_embeddings: int = 20


class MarkovTransformer(PreTrainedModel):
    """Learned positions, layers of one attention head over the full width, normalization after each part.

    Args:
        config: its sizes; 335 882 weights by default.

    References:
        As in the authors' code for appendix H of the SimNPO paper, arXiv 2410.07163, which asks for four heads but
        has one.
    """

    config_class = MarkovConfig

    def __init__(self, config: MarkovConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.states = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.max_position_embeddings, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(config.num_hidden_layers))
        self.lm_head = nn.Linear(width, config.vocab_size)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool = False,
        use_cache: bool = False,
    ) -> CausalLMOutput:
        """Logits ``[B, T, 10]`` of the state after each of ``input_ids [B, T]``.

        Args:
            input_ids: right-padded states. No state sees a later one, so padding at the right needs no mask.
            attention_mask: not used.
            output_hidden_states: whether to give the outputs of all layers too.
            use_cache: not used.
        """
        hidden = self.states(input_ids) + self.positions.weight[: input_ids.shape[1]]
        outputs = [hidden]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return CausalLMOutput(
            logits=self.lm_head(outputs[-1]), hidden_states=tuple(outputs) if output_hidden_states else None
        )

    def _init_weights(self, module: nn.Module) -> None:
        """Leave PyTorch's own initial weights, as the authors do."""


class Layer(nn.Module):
    """Attention, then two linear maps with a ReLU in between; each is added to its input and normalized.

    Args:
        width: number of hidden units.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)
        self.attention_norm, self.norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, hidden: Tensor) -> Tensor:
        """``[B, T, D]`` to ``[B, T, D]``."""
        queries, keys, values = (part(hidden).unsqueeze(1) for part in (self.query, self.key, self.value))
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=True).squeeze(1)
        hidden = self.attention_norm(hidden + attended)
        return self.norm(hidden + self.down(torch.relu(self.up(hidden))))


def new_model(hidden_size: int = 128, num_layers: int = 4, positions: int = 20, seed: int = 0) -> MarkovTransformer:
    """A model with random weights; the global random state is left as it was.

    Args:
        hidden_size: width.
        num_layers: number of layers.
        positions: longest sequence.
        seed: what the weights are drawn from.
    """
    config = MarkovConfig(hidden_size=hidden_size, num_hidden_layers=num_layers, max_position_embeddings=positions)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MarkovTransformer(config).train()


def load_model(path: str) -> MarkovTransformer:
    """The model in a folder that :class:`~unlearn_pl.callbacks.SavePretrained` has written, in training mode.

    Args:
        path: the folder.
    """
    return MarkovTransformer.from_pretrained(path).train()
