"""Trainings of multimodal models on texts, on one process or on two ranks."""

import functools

import torch
import transformers

from tests import kit
from unlearn_pl.models import LoRA, full_state_dict
from unlearn_pl.modules import GradDiff
from unlearn_pl.optim import Constant

TEXT = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "pad_token_id": 2}
TEXT |= {"num_key_value_heads": 1, "max_position_embeddings": 256}
VISION = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VISION |= {"image_size": 28, "patch_size": 14}


def _seeded(build):
    @functools.wraps(build)
    def seeded():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return build().train()

    return seeded


@_seeded
def gemma3():
    text = TEXT | {"vocab_size": len(kit.tokenizer()), "head_dim": 8}
    tokens = {"image_token_index": 70, "boi_token_index": 71, "eoi_token_index": 72, "mm_tokens_per_image": 4}
    config = transformers.Gemma3Config(text_config=text, vision_config=VISION, **tokens)
    return transformers.Gemma3ForConditionalGeneration(config)


@_seeded
def llava():
    text = transformers.LlamaConfig(vocab_size=len(kit.tokenizer()), **TEXT)
    vision = transformers.CLIPVisionConfig(**VISION)
    return transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(text_config=text, vision_config=vision, image_token_index=70)
    )


@_seeded
def mllama():
    text = TEXT | {"vocab_size": len(kit.tokenizer()), "cross_attention_layers": [1]}
    vision = VISION | {"attention_heads": 2, "num_global_layers": 1, "max_num_tiles": 1, "vision_output_dim": 32}
    vision |= {"intermediate_layers_indices": [0], "supported_aspect_ratios": [[1, 1]]}
    text |= {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
    config = transformers.MllamaConfig(text_config=text, vision_config=vision, image_token_index=70)
    return transformers.MllamaForConditionalGeneration(config)


MODELS = {
    "gemma3": gemma3,
    "llava": llava,
    "mllama": mllama,
    "gemma3 with adapters": _seeded(lambda: LoRA(r=2).apply(gemma3())),
}


def train(name: str, strategy: str, devices: int) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The weights before and after three steps with weight decay."""
    model = MODELS[name]()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = functools.partial(torch.optim.AdamW, lr=1e-2, eps=1e-2, weight_decay=0.1)
    module = GradDiff(model, optimizer=optimizer, schedule=Constant())
    data = kit.Questions(forget=12, batch_size=4, micro_batch_size=4 // devices)
    kit.trainer(max_steps=3, strategy=strategy, devices=devices).fit(module, data)
    return before, full_state_dict(model)
