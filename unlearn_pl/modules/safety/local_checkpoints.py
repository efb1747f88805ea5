"""Checkpoints are read from files: an address would be unpickled with everything that is in it."""


def check_local(checkpoint_path: object) -> None:
    """Check that a checkpoint is no web address, which Lightning unpickles without ``weights_only``.

    Args:
        checkpoint_path: path of a checkpoint, or None.

    Raises:
        ValueError: naming the way to load it.
    """
    if str(checkpoint_path).lower().startswith(("http:", "https:")):
        raise ValueError(
            f"The checkpoint {str(checkpoint_path)!r} is at an address, from which code could run. Download it first, "
            "and give the path of the file."
        )
