"""Upload of an exported folder to a model repository of the Hugging Face hub."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from unlearn_pl.masking import MASKED, masked_message
from unlearn_pl.recording import Recorded

LOGIN = "run `hf auth login`, or set the environment variable HF_TOKEN"
REPLACED = ("*.safetensors*", "*.bin*", "*config.json")
"""Files in the repository that the upload deletes unless it brings them along: they are of an earlier model."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REVISION = re.compile(r"[\w./-]+", re.ASCII)


class HubUpload(Recorded):
    """A model repository of the Hugging Face hub, and how an export is uploaded to it.

    The access token is the one of ``hf auth login``, or that of the environment variable ``HF_TOKEN``. It is not an
    argument, because configurations are written to files.

    The repository is created if there is none. Files of an earlier model there, weights and configurations, are
    replaced as a whole; others stay.

    Args:
        repo_id: name of the repository, ``owner/name``.
        private: whether the repository is private; by default as its owner has chosen for new ones. An existing
            repository that is public is an error if this is True.
        revision: branch to upload to, created if there is none; the main branch by default.
        commit_message: first line of the commit.

    Raises:
        ValueError: if the name of the repository or of the branch cannot be one, or the message is empty.
    """

    def __init__(
        self,
        repo_id: str,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload a model trained with unlearn_pl",
    ) -> None:
        _check_repository(repo_id)
        if revision is not None:
            _check_branch(revision)
        if not commit_message.strip():
            raise ValueError("push_to_hub: commit_message is empty; accepted is any other text.")
        self.repo_id = repo_id
        self.private = private
        self.revision = revision
        self.commit_message = commit_message

    def check(self) -> str | None:
        """Ask the hub, before training, whether this upload is allowed; nothing is created there.

        Returns:
            What kept the hub from answering, for a warning; None if all is well.

        Raises:
            ValueError: if the hub is switched off, there is no access token, the hub does not accept it, it does not
                allow to write to this repository, or the repository is public and should be private.
        """
        from huggingface_hub import HfApi, constants, get_token

        if constants.HF_HUB_OFFLINE:
            raise ValueError(
                f"push_to_hub={self.repo_id!r} uploads to the hub, which HF_HUB_OFFLINE=1 switches off; unset it, or "
                "drop push_to_hub and upload the folder later."
            )
        if get_token() is None:
            raise ValueError(
                f"push_to_hub={self.repo_id!r} needs an access token of the hub, and there is none: {LOGIN}."
            )
        try:
            account = HfApi().whoami()
            is_public = self._is_public()
        except Exception as error:  # the client's own errors, and those of its HTTP client, differ between versions
            if _status(error) in (401, 403):
                raise ValueError(
                    f"push_to_hub={self.repo_id!r}: the hub does not accept the access token ({_reason(error)}). If it "
                    f"is out of date, {LOGIN}."
                ) from error
            return f"whether {self.repo_id} may be uploaded to could not be checked: {_reason(error)}"
        _check_role(self.repo_id, account)
        self._check_visibility(is_public)
        return None

    def upload(self, folder: Path) -> str:
        """Create the repository if there is none, and commit the files of a folder.

        Args:
            folder: the exported folder.

        Returns:
            Address of the commit.

        Raises:
            ValueError: if the repository is public and should be private.
            Exception: whatever the hub's client raises.
        """
        from huggingface_hub import HfApi

        api = HfApi()
        api.create_repo(self.repo_id, private=self.private, exist_ok=True)
        self._check_visibility(self._is_public())  # exist_ok leaves the visibility of a repository as it is
        if self.revision is not None and not self.revision.startswith("refs/"):
            api.create_branch(self.repo_id, branch=self.revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=self.repo_id,
            folder_path=folder,
            revision=self.revision,
            commit_message=self.commit_message,
            delete_patterns=list(REPLACED),
        )
        return str(commit.commit_url)

    def attempt(self, folder: Path) -> tuple[str | None, str]:
        """:meth:`upload`, whose errors become a sentence.

        Args:
            folder: the exported folder.

        Returns:
            The address of the commit, or None, and what happened in words.
        """
        try:
            address = self.upload(folder)
        except Exception as error:  # hours of training must not end in an error of the network
            return None, (
                f"The model in {folder} was NOT uploaded to {self.repo_id}: {_reason(error)}. The folder is complete. "
                f"To upload it: {self.command(folder)}"
            )
        return address, f"The model in {folder} was uploaded: {address}"

    def command(self, folder: Path) -> str:
        """The line for a shell that uploads the folder."""
        words = ["hf", "upload", self.repo_id, str(folder), "."]
        words += ["--private"] if self.private else []
        words += ["--revision", self.revision] if self.revision is not None else []
        words += ["--commit-message", self.commit_message]
        words += [word for pattern in REPLACED for word in ("--delete", pattern)]
        return shlex.join(words)

    def _is_public(self) -> bool:
        """Whether the repository exists for all to see."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            return HfApi().repo_info(self.repo_id).private is False
        except RepositoryNotFoundError:
            return False

    def _check_visibility(self, is_public: bool) -> None:
        if self.private and is_public:
            raise ValueError(
                f"push_to_hub: the repository {self.repo_id!r} exists and is public, and private=True leaves it so; "
                "make it private in its settings, or name another."
            )


def _check_repository(repo_id: str) -> None:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    accepted = "accepted is owner/name, such as 'me/my-model', of letters, digits, '-', '_' and '.'"
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise ValueError(f"push_to_hub={repo_id!r} is not the name of a repository: {accepted}.") from error
    if _REPOSITORY.fullmatch(repo_id) is None:
        raise ValueError(f"push_to_hub={repo_id!r} is not the name of a repository: {accepted}.")


def _check_branch(revision: str) -> None:
    wrong = _REVISION.fullmatch(revision) is None or ".." in revision or revision.startswith(("-", "/", "."))
    if wrong or revision.endswith(("/", ".", ".lock")):
        raise ValueError(f"push_to_hub: revision={revision!r} cannot name a branch; accepted is a name such as 'dev'.")
    if _COMMIT.fullmatch(revision):
        raise ValueError(f"push_to_hub: revision={revision!r} is a commit; accepted is the name of a branch.")


def _check_role(repo_id: str, account: Mapping[str, object]) -> None:
    """Check what ``whoami`` says about an account and its token.

    Raises:
        ValueError: if the token only reads, or the owner of the repository is neither the account nor one of its
            organizations, or one that it only reads in.
    """
    owner = repo_id.partition("/")[0]
    auth = account.get("auth")
    token = auth.get("accessToken") if isinstance(auth, Mapping) else None
    role = token.get("role") if isinstance(token, Mapping) else None
    if role == "read":
        raise ValueError(
            f"push_to_hub={repo_id!r}: the access token only reads; accepted is one that may write, from the settings "
            "of the account."
        )
    if isinstance(token, Mapping) and role == "fineGrained" and not _grants(token.get("fineGrained"), repo_id):
        raise ValueError(
            f"push_to_hub={repo_id!r}: the fine-grained access token has no permission to write to repositories of "
            f"{owner!r}; add it in the settings of the account."
        )
    orgs = account.get("orgs")
    organizations = [org for org in (orgs if isinstance(orgs, list) else []) if isinstance(org, Mapping)]
    roles = {str(org.get("name")): org.get("roleInOrg") for org in organizations}
    if owner != account.get("name") and owner not in roles:
        accepted = ", ".join(map(str, (account.get("name"), *roles)))
        raise ValueError(f"push_to_hub={repo_id!r}: the access token is not of {owner!r}; accepted owners: {accepted}.")
    if roles.get(owner) == "read":
        raise ValueError(f"push_to_hub={repo_id!r}: the account only reads in the organization {owner!r}.")


def _grants(permissions: object, repo_id: str) -> bool:
    """Whether a fine-grained token may write to a repository; also if it does not say."""
    scopes = permissions.get("scoped") if isinstance(permissions, Mapping) else None
    if not isinstance(scopes, list):
        return True
    named = [scope for scope in scopes if _entity(scope) in (repo_id, repo_id.partition("/")[0])]
    granted = [str(name) for scope in named for name in scope.get("permissions") or []]
    return any(name.startswith("repo.") and "write" in name for name in granted)


def _entity(scope: object) -> object:
    entity = scope.get("entity") if isinstance(scope, Mapping) else None
    return entity.get("name") if isinstance(entity, Mapping) else None


def _status(error: BaseException) -> int | None:
    return getattr(getattr(error, "response", None), "status_code", None)


def _reason(error: BaseException) -> str:
    """The message of an error on one line, without the access token."""
    from huggingface_hub import get_token

    text = " ".join(str(error).split()) or type(error).__name__
    if (token := get_token()) is not None:
        text = text.replace(token, MASKED)
    return masked_message(text).rstrip(".")
