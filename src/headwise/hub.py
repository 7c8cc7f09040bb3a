"""The Hugging Face hub: the one place that speaks to it, and only when asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from .errors import InputError

__all__ = ["cached", "check_repo_id", "download", "is_repo_id", "upload"]

_REPO_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)


def check_repo_id(repo_id: str) -> None:
    """Refuse what cannot be the name of a repository."""
    if not is_repo_id(repo_id):
        raise InputError(f"{repo_id!r} is not the name of a repository on the hub; give 'user/name'")


def is_repo_id(name: str) -> bool:
    """Whether a name has the form of a repository's, ``user/name``."""
    return bool(_REPO_ID.fullmatch(name))


def upload(folder: Path, repo_id: str, *, token: str | None, private: bool, message: str) -> str:
    """Make the repository where there is none, add the folder's files in one commit, and give the commit's address.

    Raises
    ------
    InputError
        huggingface_hub is not installed, or the hub refuses (no such user, no permission, no network).
    """
    check_repo_id(repo_id)
    hub = _huggingface_hub()
    api = hub.HfApi(token=token)
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=message))
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        raise InputError(f"cannot write to {repo_id} on the hub: {_first_line(error)}") from None


def download(repo_id: str, *, files: Sequence[str], token: str | None, revision: str | None) -> Path:
    """Folder of the hub's cache with some files of a repository, those that it has.

    Raises
    ------
    InputError
        huggingface_hub is not installed, or the repository cannot be read.
    """
    check_repo_id(repo_id)
    hub = _huggingface_hub()
    api = hub.HfApi(token=token)
    try:
        return Path(api.snapshot_download(repo_id, revision=revision, allow_patterns=list(files)))
    except (OSError, ValueError, hub.errors.HTTPError) as error:
        raise InputError(f"cannot read {repo_id} from the hub: {_first_line(error)}") from None


def cached(repo_id: str) -> Path:
    """Folder of a repository in the hub's local cache; the network is not used.

    Raises
    ------
    InputError
        huggingface_hub is not installed, or the repository is not in the cache.
    """
    check_repo_id(repo_id)
    hub = _huggingface_hub()
    try:
        return Path(hub.snapshot_download(repo_id, local_files_only=True))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{repo_id} is not in the local cache of the hub ({_first_line(error)}); fetch it first: "
            f"hf download {repo_id}"
        ) from None


def _huggingface_hub() -> ModuleType:
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise InputError(
            "the hub needs the package huggingface_hub; install headwise with its extra: headwise[hf]"
        ) from None
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
