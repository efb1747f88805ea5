"""Wrapper around another data module that exposes part of it."""

from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.options import DataOptions


class SubsetDataModule(UnlearningDataModule):
    """The streams and splits of another data module, some of which a subclass replaces.

    Tokenizer, batch sizes, seed and all other options are those of the data module. Its own hooks are not called.

    Args:
        data: the other data module.
    """

    def __init__(self, data: UnlearningDataModule) -> None:
        options = {name: getattr(data, name) for name in DataOptions.__annotations__}
        super().__init__(data._tokenizer, **(options | {"streams": data._asked_streams}))
        self.data = data

    def attached(self, data: UnlearningDataModule) -> UnlearningDataModule:
        """``data`` with this module's Trainer, whose module may have the tokenizer, and with a tokenizer set since."""
        data.trainer = self.trainer
        if "tokenizer" in vars(self):
            data.tokenizer = self.tokenizer
        return data
