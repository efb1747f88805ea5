"""Models: loading, one forward of a stream, scoring, generation, sharding and export."""

from unlearn_pl.models.adapter_file import AdapterFile
from unlearn_pl.models.class_view import class_view
from unlearn_pl.models.diffusion.model import DiffusionModel
from unlearn_pl.models.diffusion.noise_schedule import NoiseSchedule
from unlearn_pl.models.diffusion.sampling import DDIM
from unlearn_pl.models.diffusion.spec import DiffusionSpec
from unlearn_pl.models.diffusion.tiny import TinyUNet
from unlearn_pl.models.diffusion.unet import UNet
from unlearn_pl.models.export import check_export_directory, full_state_dict, save_pretrained
from unlearn_pl.models.images.classifier import ImageClassifier
from unlearn_pl.models.images.networks import MLP, ConvNet
from unlearn_pl.models.language.causal_lm import CausalLM
from unlearn_pl.models.language.forward import stream_forward
from unlearn_pl.models.language.generation import generate
from unlearn_pl.models.language.language_spec import LanguageSpec
from unlearn_pl.models.language.lora import LoRA
from unlearn_pl.models.language.model_like import LiveModel, ModelLike, spec_of
from unlearn_pl.models.language.names import load_tokenizer, resolve
from unlearn_pl.models.language.qlora import QLoRA
from unlearn_pl.models.language.sampling import Sampling, sample
from unlearn_pl.models.language.scoring import score
from unlearn_pl.models.language.shared_context import shared_context_log_probs
from unlearn_pl.models.language.tiny import tiny_llama, train_tokenizer
from unlearn_pl.models.modes import evaluation_mode
from unlearn_pl.models.sharding import decoder_layers, shard
from unlearn_pl.models.spec import EvaluationRequest, EvaluationSetting, ModelSpec

__all__ = [
    "DDIM",
    "MLP",
    "AdapterFile",
    "CausalLM",
    "ConvNet",
    "DiffusionModel",
    "DiffusionSpec",
    "EvaluationRequest",
    "EvaluationSetting",
    "ImageClassifier",
    "LanguageSpec",
    "LiveModel",
    "LoRA",
    "ModelLike",
    "ModelSpec",
    "NoiseSchedule",
    "QLoRA",
    "Sampling",
    "TinyUNet",
    "UNet",
    "check_export_directory",
    "class_view",
    "decoder_layers",
    "evaluation_mode",
    "full_state_dict",
    "generate",
    "load_tokenizer",
    "resolve",
    "sample",
    "save_pretrained",
    "score",
    "shard",
    "shared_context_log_probs",
    "spec_of",
    "stream_forward",
    "tiny_llama",
    "train_tokenizer",
]
