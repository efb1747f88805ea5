"""Specification of a language model: plain data from which it can be built repeatedly."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

import torch

from unlearn_pl.models.hub.damage import load_whole
from unlearn_pl.models.language.adapter_folders import adapter_config, load_merged
from unlearn_pl.models.language.checkpointing import checkpoint_activations
from unlearn_pl.models.language.compilation import compile_layers
from unlearn_pl.models.language.language_spec import LanguageSpec
from unlearn_pl.models.language.lora import LoRA
from unlearn_pl.models.language.names import load_tokenizer, loading, resolve
from unlearn_pl.models.language.qlora import QLoRA

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

DTypeName = Literal["float32", "bfloat16", "float16", "float64"]


class CausalLM(LanguageSpec):
    """A causal language model of Hugging Face transformers, and how to load it for training.

    Args:
        name: Hub id, local folder, path of a ``.gguf`` file, or an alias (``"smollm2-135m"``). An adapter without its
            base model, as ``save_pretrained(merge_lora=False)`` writes it, is merged into the base model at loading.
        dtype: dtype of the weights; by default that of the Trainer's precision: float32, also under mixed precision,
            and bfloat16 under ``bf16-true``. The dtype of the stored weights is ignored.
        attn_implementation: attention kernels, by their name in transformers; by default transformers chooses those
            that the architecture has.
        lora: trains adapters instead of all weights.
        gradient_checkpointing: recompute activations in the backward pass: less memory, about a third more time.
        gguf_file: file with the weights in the folder or repository ``name``.
        compile: compile each decoder layer with ``torch.compile``; the first steps take minutes longer.
        revision: branch, tag or commit of the Hub repository, for the model and its tokenizer.
        trust_remote_code: whether to run Python code that the repository brings along.

    Raises:
        ValueError: if QLoRA is combined with GGUF weights.
    """

    name: str

    def __init__(
        self,
        name: str,
        dtype: DTypeName | None = None,
        attn_implementation: str | None = None,
        lora: LoRA | None = None,
        gradient_checkpointing: bool = False,
        gguf_file: str | None = None,
        compile: bool = False,
        revision: str | None = None,
        trust_remote_code: bool = False,
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
        self.revision = revision
        self.trust_remote_code = trust_remote_code
        self.saved_parts = () if lora is None else ("lora_",)

    def build(self, precision_dtype: torch.dtype | None = None) -> "PreTrainedModel | PeftModel":
        """Load the weights; the returned model is in training mode.

        Args:
            precision_dtype: dtype of the weights if ``dtype`` is None; float32 by default.

        Raises:
            ValueError: if there is no such model, its files are damaged or lack weights, or the folder holds an adapter
                that cannot be merged into its base model.
        """
        path, found = resolve(self.name)
        dtype = getattr(torch, self.dtype) if self.dtype else precision_dtype or torch.float32
        gguf_file = self.gguf_file or found
        with loading(self.name):
            model = self._load(path, dtype, gguf_file, self.revision)
        if gguf_file is not None:
            _forget_quantization(model)
            model.name_or_path = self.name if found else str(Path(path, gguf_file))  # the base of adapters saved later
        if self.gradient_checkpointing:
            checkpoint_activations(model)
        # Loaded models are in evaluation mode, in which transformers silently skips gradient checkpointing.
        trained = (self.lora.apply(model) if self.lora else model).train()
        if self.lora is not None and self.revision is not None:
            _name_revision(cast("PeftModel", trained), self.revision)
        if self.compile:
            compile_layers(trained)
        return trained

    def tokenizer(self) -> "PreTrainedTokenizerFast":
        """The model's tokenizer."""
        return load_tokenizer(self.name, self.gguf_file, self.revision, self.trust_remote_code)

    def _load(self, path: str, dtype: torch.dtype, gguf_file: str | None, revision: str | None) -> "PreTrainedModel":
        """The model in a folder or repository, with its adapter merged if it holds one."""
        from transformers import AutoModelForCausalLM

        adapter = adapter_config(path, revision) if gguf_file is None else None
        if adapter is not None:
            if isinstance(self.lora, QLoRA):
                raise ValueError(
                    f"QLoRA quantizes stored weights, but {path!r} holds an adapter, which is merged at loading. "
                    "Export the merged model first: save_pretrained(CausalLM(...).build(), folder)."
                )
            return load_merged(path, adapter, lambda base, of: self._load_base(base, dtype, of), revision)
        model = load_whole(
            AutoModelForCausalLM,
            path,
            dtype=dtype,
            attn_implementation=self.attn_implementation,
            gguf_file=gguf_file,
            use_safetensors=True if gguf_file is None else None,  # pickles could run code
            quantization_config=self.lora.quantization() if isinstance(self.lora, QLoRA) else None,
            trust_remote_code=self.trust_remote_code,
            **({} if revision is None else {"revision": revision}),
        )
        return cast("PreTrainedModel", model)

    def _load_base(self, name: str, dtype: torch.dtype, revision: str | None) -> "PreTrainedModel":
        """The base model of an adapter."""
        path, gguf_file = resolve(name)
        with loading(name):
            model = self._load(path, dtype, gguf_file, revision)
        if gguf_file is not None:
            _forget_quantization(model)
        return model


def _name_revision(model: "PeftModel", revision: str) -> None:
    """Let adapters that are saved alone say which revision of their base model they need."""
    for config in model.peft_config.values():
        config.revision = revision


def _forget_quantization(model: "PreTrainedModel") -> None:
    """Make a model whose GGUF weights were expanded at loading savable like any other."""
    model.hf_quantizer = None  # type: ignore[assignment]
    model.is_quantized = False  # type: ignore[assignment]
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
