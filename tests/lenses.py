"""Lenses with random maps, for objectives on made-up states and for tiny models."""

import atexit
import functools
import shutil
import tempfile
from pathlib import Path

import torch

from unlearn_pl.models.layers.lens import Lens, write_lens
from unlearn_pl.models.layers.readout import Readout


def random_lens(width: int, vocabulary: int, layers=(1, 7, 8), centered: bool = False, seed: int = 0) -> Lens:
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    readout = Readout(
        head=draw(vocabulary, width),
        bias=draw(vocabulary),
        gain=1 + 0.1 * draw(width),
        shift=0.1 * draw(width),
        centered=centered,
        eps=1e-5,
    )
    return Lens({layer: (0.3 * draw(width, width), 0.3 * draw(width)) for layer in layers}, readout)


@functools.cache
def lens_file(width: int, vocabulary: int) -> str:
    """The path of a file with :func:`random_lens`; it lives as long as the process."""
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "lens.safetensors"
    write_lens(path, random_lens(width, vocabulary), "0" * 64, {})
    return str(path)
