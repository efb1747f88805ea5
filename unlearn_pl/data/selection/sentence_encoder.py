"""Embeddings of texts by a model made for it, from a folder."""

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unlearn_pl.data.selection.embedders import Embedder
from unlearn_pl.data.selection.examples import StreamExamples
from unlearn_pl.models.hub.configuration import check_configuration
from unlearn_pl.models.hub.damage import reading


class SentenceEncoder(Embedder):
    """Mean of the last hidden states of a sentence encoder, of length 1: the cosine of two vectors decides.

    Args:
        path: folder of the encoder and its tokenizer, as transformers saves them; safetensors only, and no code of the
            folder is run. Encoders that are made for the mean over tokens (most of them) are meant.
        batch_size: texts per forward.
        max_length: most tokens of a text; what comes after them is not read.

    Raises:
        ValueError: if there is no such folder, or a size is not positive.
    """

    uses_model = False

    def __init__(self, path: str, batch_size: int = 32, max_length: int = 256) -> None:
        if not Path(path).is_dir():
            raise ValueError(f"path={path!r} is no folder; accepted is the folder of a sentence encoder.")
        if batch_size < 1 or max_length < 1:
            raise ValueError(f"batch_size={batch_size} and max_length={max_length} must be at least 1.")
        self.path = path
        self.batch_size = batch_size
        self.max_length = max_length

    @torch.no_grad()
    def embed(self, examples: StreamExamples) -> Tensor:
        """The vectors of the texts, ``[N, D]``."""
        from transformers import AutoModel, AutoTokenizer

        with reading(self.path, "sentence encoder"):
            check_configuration(self.path)
            tokenizer = AutoTokenizer.from_pretrained(self.path, trust_remote_code=False)
            model = AutoModel.from_pretrained(self.path, use_safetensors=True, trust_remote_code=False).eval()
        texts = list(examples.texts())
        parts = [
            self._vectors(model, tokenizer, texts[start : start + self.batch_size])
            for start in range(0, len(texts), self.batch_size)
        ]
        return torch.cat(parts)

    def identity(self) -> str:
        """SHA-256 of all files of the folder."""
        digest = hashlib.sha256()
        for file in sorted(Path(self.path).iterdir()):
            if file.is_file():
                with file.open("rb") as content:
                    digest.update(f"{file.name}:{hashlib.file_digest(content, 'sha256').hexdigest()}".encode())
        return digest.hexdigest()

    def _vectors(self, model: Any, tokenizer: Any, texts: list[str]) -> Tensor:
        # Padded here: tokenizers of language models have no padding token, or pad at the left.
        rows = [tokenizer(text, truncation=True, max_length=self.max_length)["input_ids"] or [0] for text in texts]
        longest = max(map(len, rows))
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        states = model(input_ids=ids, attention_mask=mask).last_hidden_state.float()
        weights = mask.unsqueeze(-1).to(states)
        return torch.nn.functional.normalize((states * weights).sum(dim=1) / weights.sum(dim=1), dim=-1)
