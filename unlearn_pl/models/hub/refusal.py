"""Why the Hugging Face hub does not give a model, in words that say what to do."""

from collections.abc import Iterator


def refusal(repo: str, error: BaseException) -> str | None:
    """Why the hub refuses a repository, and what to do about it.

    Args:
        repo: name of the repository, ``owner/name``.
        error: raised by transformers, diffusers or the hub's client.

    Returns:
        A clause without a full stop; None if the error is another one, such as a missing file.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    page = f"{constants.ENDPOINT}/{repo}"
    login = "run `hf auth login` or set HF_TOKEN"
    has_token = get_token() is not None
    for cause in _causes(error):
        status = getattr(getattr(cause, "response", None), "status_code", None)
        if isinstance(cause, GatedRepoError):
            then = "the account of the access token has none" if has_token else f"then {login}"
            return f"it is gated: ask for access on {page}; {then}"
        if isinstance(cause, RepositoryNotFoundError):
            private = "the access token may not read it" if has_token else f"it is private: {login}"
            return f"there is no {page}, or {private}"
        if status in (401, 403):
            return f"the access token may not read {page}: {login}, with a token that may"
    return None


def is_of_the_network(error: BaseException) -> bool:
    """Whether an error is one of the hub's HTTP client, which lets some of its own through: a broken connection."""
    modules = {cls.__module__.partition(".")[0] for cls in type(error).__mro__}
    return not modules.isdisjoint(("httpx", "httpx2", "requests"))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """``error``, and those that it was raised from."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__
