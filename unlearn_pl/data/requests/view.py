"""A data module that shows another one in part."""

from unlearn_pl.data.module import UnlearningDataModule
from unlearn_pl.data.options import DataOptions


class DataView(UnlearningDataModule):
    """Another data module's streams and splits, of which subclasses change some.

    Tokenizer, batch sizes, seed and everything else is that of the data module. Its own hooks are not called.

    Args:
        data: what is shown.
    """

    def __init__(self, data: UnlearningDataModule) -> None:
        options = {name: getattr(data, name) for name in DataOptions.__annotations__}
        super().__init__(data._tokenizer, **(options | {"streams": data._asked_streams}))
        self.data = data

    def attached(self, data: UnlearningDataModule) -> UnlearningDataModule:
        """``data``, which is told of the Trainer, whose module may have the tokenizer, and of a tokenizer set since."""
        data.trainer = self.trainer
        if "tokenizer" in vars(self):
            data.tokenizer = self.tokenizer
        return data
