"""Specification of a language model: plain data from which it can be built repeatedly."""

from typing import TYPE_CHECKING, Literal

import torch

from unlearn_pl.models.language.checkpointing import checkpoint_activations
from unlearn_pl.models.language.compilation import compile_layers
from unlearn_pl.models.language.language_spec import LanguageSpec
from unlearn_pl.models.language.lora import LoRA
from unlearn_pl.models.language.names import load_tokenizer, resolve
from unlearn_pl.models.language.qlora import QLoRA

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DTypeName = Literal["float32", "bfloat16", "float16", "float64"]


class CausalLM(LanguageSpec):
    """A causal language model of Hugging Face transformers, and how to load it for training.

    Args:
        name: Hub id, local folder, path of a ``.gguf`` file, or an alias (``"smollm2-135m"``).
        dtype: dtype of the weights; by default that of the Trainer's precision: float32, also under mixed precision,
            and bfloat16 under ``bf16-true``. The dtype of the stored weights is ignored.
        attn_implementation: attention kernels, by their name in transformers.
        lora: trains adapters instead of all weights.
        gradient_checkpointing: recompute activations in the backward pass: less memory, about a third more time.
        gguf_file: file with the weights in the folder or repository ``name``.
        compile: compile each decoder layer with ``torch.compile``; the first steps take minutes longer.

    Raises:
        ValueError: if QLoRA is combined with GGUF weights.
    """

    name: str

    def __init__(
        self,
        name: str,
        dtype: DTypeName | None = None,
        attn_implementation: str = "sdpa",
        lora: LoRA | None = None,
        gradient_checkpointing: bool = False,
        gguf_file: str | None = None,
        compile: bool = False,
    ) -> None:
        if isinstance(lora, QLoRA) and (found := gguf_file or resolve(name)[1]):
            raise ValueError(f"QLoRA cannot quantize the GGUF weights {found!r}; accepted with them: LoRA.")
        self.name = name
        self.dtype = dtype
        self.attn_implementation = attn_implementation
        self.lora = lora
        self.gradient_checkpointing = gradient_checkpointing
        self.gguf_file = gguf_file
        self.compile = compile
        self.saved_parts = () if lora is None else ("lora_",)

    def build(self, precision_dtype: torch.dtype | None = None) -> "PreTrainedModel | PeftModel":
        """Load the weights; the returned model is in training mode.

        Args:
            precision_dtype: dtype of the weights if ``dtype`` is None; float32 by default.
        """
        from transformers import AutoModelForCausalLM

        path, found = resolve(self.name)
        dtype = getattr(torch, self.dtype) if self.dtype else precision_dtype or torch.float32
        gguf_file = self.gguf_file or found
        model = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=dtype,
            attn_implementation=self.attn_implementation,
            gguf_file=gguf_file,
            use_safetensors=True if gguf_file is None else None,  # pickles could run code
            quantization_config=self.lora.quantization() if isinstance(self.lora, QLoRA) else None,
        )
        if gguf_file is not None:
            _forget_quantization(model)
        if self.gradient_checkpointing:
            checkpoint_activations(model)
        # Loaded models are in evaluation mode, in which transformers silently skips gradient checkpointing.
        trained = (self.lora.apply(model) if self.lora else model).train()
        if self.compile:
            compile_layers(trained)
        return trained

    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The model's tokenizer."""
        return load_tokenizer(self.name, self.gguf_file)


def _forget_quantization(model: "PreTrainedModel") -> None:
    """Make a model whose GGUF weights were expanded at loading savable like any other."""
    model.hf_quantizer = None  # type: ignore[assignment]
    model.is_quantized = False  # type: ignore[assignment]
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
