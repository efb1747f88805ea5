"""Tiny models of many families with random weights, whose layers are stored in different ways."""

import warnings

import torch
import transformers

SIZES = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 512, "bos_token_id": 0, "eos_token_id": 1,
    "pad_token_id": 2,
}  # fmt: skip
MOE = {"num_experts_per_tok": 2, "num_local_experts": 4}
MOE_QWEN = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24, "decoder_sparse_step": 1}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 2, "bos_token_id": 0, "eos_token_id": 1}
GPT2 |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
FAMILIES = {
    "llama": ("LlamaConfig", SIZES),
    "gpt2": ("GPT2Config", GPT2),
    "falcon": ("FalconConfig", {name: size for name, size in SIZES.items() if name != "head_dim"}),
    "phi3": ("Phi3Config", SIZES),
    "mamba": ("MambaConfig", {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4, "time_step_rank": 4}),
    "mixtral": ("MixtralConfig", SIZES | MOE),
    "qwen2_moe": ("Qwen2MoeConfig", SIZES | MOE_QWEN | {"shared_expert_intermediate_size": 24}),
    "qwen3_moe": ("Qwen3MoeConfig", SIZES | MOE_QWEN),
    "gpt_oss": ("GptOssConfig", SIZES | MOE | {"layer_types": ["full_attention"] * 2}),
    "granitemoe": ("GraniteMoeConfig", SIZES | MOE),
    "llama4": ("Llama4TextConfig", SIZES | MOE | {"intermediate_size_mlp": 48, "interleave_moe_layer_step": 1}),
    "dbrx": (
        "DbrxConfig",
        {
            "d_model": 32, "n_heads": 2, "n_layers": 2, "max_seq_len": 512,
            "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 1e4},
        },
    ),
}  # fmt: skip


def make(family: str, vocab_size: int, seed: int = 0, **options) -> transformers.PreTrainedModel:
    """A causal language model of ``family``, in evaluation mode."""
    name, sizes = FAMILIES[family]
    config = getattr(transformers, name)(vocab_size=vocab_size, **sizes | options)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config)
        for parameter in model.parameters():
            if parameter.dim() == 3:  # some are left empty
                torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()
