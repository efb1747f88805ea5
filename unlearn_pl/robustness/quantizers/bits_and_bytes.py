"""Quantization with the package bitsandbytes, as in deployment."""

from importlib.util import find_spec
from typing import cast

from torch import nn

from unlearn_pl.models import resolve
from unlearn_pl.models.hub.damage import load_whole
from unlearn_pl.models.language.names import loading
from unlearn_pl.models.quantized_share import check_quantized_share
from unlearn_pl.robustness.quantizers.quantizer import Quantizer
from unlearn_pl.robustness.target import Subject


class BitsAndBytes(Quantizer):
    """The model as ``from_pretrained(quantization_config=BitsAndBytesConfig(...))`` loads it.

    In 8 bits this is LLM.int8(), which also rounds activations; in 4 bits, NF4.

    Args:
        bits: 8 or 4.

    Raises:
        ValueError: if ``bits`` is another number; from ``check``, if bitsandbytes is not installed; from ``build``, if
            it quantizes less than three quarters of the weights in the model's layers.

    References:
        Dettmers et al., arXiv 2208.07339 and arXiv 2305.14314.
    """

    def __init__(self, bits: int = 8) -> None:
        if bits not in (4, 8):
            raise ValueError(f"bits={bits}; accepted with bitsandbytes: 4 and 8.")
        self.bits = bits

    @property
    def name(self) -> str:
        """``bitsandbytes int8`` or ``bitsandbytes NF4``."""
        return "bitsandbytes int8" if self.bits == 8 else "bitsandbytes NF4"

    def check(self) -> None:
        """Check that the package is installed.

        Raises:
            ValueError: if it is not; the message says how to install it and names the alternatives.
        """
        if find_spec("bitsandbytes") is None:
            raise ValueError(
                "The quantization backend bitsandbytes is not installed: pip install bitsandbytes. IntegerRounding and "
                "NormalFloat4 round the weights without it."
            )

    def build(self, subject: Subject) -> nn.Module:
        """The model, quantized on loading."""
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        path, gguf_file = resolve(subject.model)
        if gguf_file is not None:
            raise ValueError(f"{subject.model!r} is a GGUF file, which bitsandbytes does not read; export it first.")
        eight = {"load_in_8bit": True}
        four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
        config = BitsAndBytesConfig(**(eight if self.bits == 8 else four))
        options = {"quantization_config": config, "trust_remote_code": False, "use_safetensors": True}
        with loading(subject.model):
            model = load_whole(AutoModelForCausalLM, path, **options)
        check_quantized_share(self.name, model, " IntegerRounding and NormalFloat4 reach experts, too.")
        return cast(nn.Module, model)
