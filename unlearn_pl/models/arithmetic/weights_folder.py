"""The tensors of an exported model, opened one at a time."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from unlearn_pl.results.json_file import read_json


@dataclass(frozen=True)
class WeightsFolder:
    """A Hugging Face folder with a whole model in safetensors.

    Args:
        path: the folder.

    Raises:
        ValueError: if there is no such folder, or it holds adapters, other kinds of weights or none.
    """

    path: Path

    def __post_init__(self) -> None:
        if not (self.path / "config.json").is_file():
            found = "adapters alone" if (self.path / "adapter_config.json").is_file() else "no config.json"
            raise ValueError(
                f"{str(self.path)!r} holds {found}; accepted: the folder of a whole model, as SavePretrained writes it "
                "(adapters are merged by default)."
            )
        if not self.files:
            raise ValueError(f"{str(self.path)!r} holds no weights in safetensors; accepted are no others.")

    @cached_property
    def files(self) -> list[Path]:
        """The files with weights, in the order of their names."""
        return sorted(self.path.glob("*.safetensors"))

    @cached_property
    def kinds(self) -> Mapping[str, tuple[str, list[int]]]:
        """Name of a tensor to its dtype and shape."""
        kinds = {}
        for path in self.files:
            with _opened(path) as file:
                for name in file.keys():  # noqa: SIM118
                    part = file.get_slice(name)
                    kinds[name] = part.get_dtype(), part.get_shape()
        return kinds

    @cached_property
    def config(self) -> Mapping[str, object]:
        """Its ``config.json``.

        Raises:
            ValueError: if that is no JSON object.
        """
        return read_json(self.path / "config.json")

    def tensor(self, name: str) -> Tensor:
        """A tensor of the folder, mapped into memory.

        Args:
            name: one of ``kinds``.
        """
        with _opened(self._file_of[name]) as file:
            return file.get_tensor(name)

    @cached_property
    def _file_of(self) -> Mapping[str, Path]:
        found = {}
        for path in self.files:
            with _opened(path) as file:
                found.update(dict.fromkeys(file.keys(), path))
        return found


def _opened(path: Path) -> safe_open:
    try:
        return safe_open(path, framework="pt")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no safetensors file: {error}") from error
