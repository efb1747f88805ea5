"""A loader of one training stream, which Lightning knows to be resumable."""

from torch.utils.data import DataLoader


class StreamLoader(DataLoader):
    """A DataLoader over a :class:`~unlearn_pl.data.StepSampler`.

    The sampler asks for the optimizer step to begin with, so there is nothing to save. Lightning looks for these two
    methods before it believes that an epoch can be resumed in its middle, and warns where they are missing.
    """

    def state_dict(self) -> dict[str, object]:
        """Nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        """Nothing to load."""
