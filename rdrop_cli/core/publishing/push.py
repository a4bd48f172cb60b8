"""Publish a run's best model on a hub: first a plan that can be shown, then one commit."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rdrop_cli import __version__
from rdrop_cli.core.progress import Progress, no_progress
from rdrop_cli.core.publishing import hub_answers
from rdrop_cli.core.publishing.contents import Contents, gather, may_be_published
from rdrop_cli.core.runs.finding import named_run
from rdrop_cli.core.storage import hub
from rdrop_cli.core.storage.addresses import without_password
from rdrop_cli.errors import HubError
from rdrop_cli.schema import HubConfig

if TYPE_CHECKING:
    from huggingface_hub import HfApi


MESSAGE = f"Model trained with rdrop {__version__}"
"""The commit's message, unless the user gives one."""


@dataclass(frozen=True)
class PushPlan:
    """What a push will do.

    Attributes:
        repository: `owner/name`.
        endpoint: The hub's address, without a password.
        exists: The repository exists already.
        private: Only its owner can see it.
        head: The newest commit of an existing repository.
        replaced: Paths that are there already and are sent again.
        deleted: Paths that an earlier push has written and that no longer belong to the model.
        kept: Other paths in the repository, which stay as they are.
    """

    contents: Contents
    repository: str
    endpoint: str
    exists: bool
    private: bool
    head: str | None = None
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def url(self) -> str:
        """The address of the repository."""
        return f"{self.endpoint}/{self.repository}"


@dataclass(frozen=True)
class PushResult:
    """What a push has done; with a dry run, would do.

    Attributes:
        commit: None for a dry run.
        private: Whether only its owner can see the repository.
    """

    plan: PushPlan
    commit: str | None
    private: bool

    def as_dict(self) -> dict[str, Any]:
        """As `rdrop push --json` prints it."""
        contents = self.plan.contents
        return {
            "repo": self.plan.repository,
            "url": self.plan.url,
            "commit": self.commit,
            "private": self.private,
            "files": [{"path": file.path, "bytes": file.size} for file in contents.files],
            "deleted": list(self.plan.deleted),
            "left_out": [{"path": path, "reason": reason} for path, reason in contents.left_out.items()],
        }


class Push:
    """A push of a run to a repository.

    Args:
        run: A run's name under runs/, or its folder.
        repository: `owner/name`.
        private: A new repository is to be private.

    Raises:
        HubError: there is no token, or offline mode is on.
        ConfigError: HF_ENDPOINT is not an address.
        CheckpointError: there is no such run.
    """

    def __init__(self, run: str, repository: str, *, private: bool = False) -> None:
        self.run: Path = named_run(run)
        self.repository, self.private = repository, private
        hub.prepare_environment(HubConfig())
        if hub.is_offline():
            raise hub_answers.offline()
        from huggingface_hub import get_token

        self._token = get_token() or ""
        if not self._token:
            raise hub_answers.no_token()
        if not (self._token.isascii() and self._token.isprintable()):  # an HTTP library would quote it in its error
            raise HubError("the token has characters that no token has", "Set HF_TOKEN again, or: hf auth login.")

    def plan(self, on_progress: Progress = no_progress) -> PushPlan:
        """What is to be sent, and what it replaces. Nothing is changed.

        Raises:
            CheckpointError: the run is not finished, is in use, or is damaged.
            HubError: the hub cannot be reached or refuses, or the repository is public and was to be private.
        """
        contents = gather(self.run, self.repository, on_progress)
        address = without_password(hub.endpoint()).rstrip("/")
        if cause := hub.probe(hub.endpoint()):
            raise HubError(cause, "Check the network, and HF_ENDPOINT if it is set.")
        repo_info = self._find()
        if repo_info is None:
            return PushPlan(contents, self.repository, address, exists=False, private=self.private)
        if self.private and not repo_info.private:
            raise HubError(
                f"{self.repository}: exists and is public", "Make it private on the hub first, or leave out --private."
            )
        present = [sibling.rfilename for sibling in repo_info.siblings or ()]
        sent = {file.path for file in contents.files}
        return PushPlan(
            contents,
            self.repository,
            address,
            exists=True,
            private=bool(repo_info.private),
            head=repo_info.sha,
            replaced=tuple(path for path in present if path in sent),
            deleted=tuple(path for path in present if path not in sent and may_be_published(path)),
            kept=tuple(path for path in present if path not in sent and not may_be_published(path)),
        )

    def send(self, plan: PushPlan, message: str = MESSAGE, *, bars: bool = False) -> PushResult:
        """Create the repository if it is new, and send everything in one commit.

        Args:
            bars: Let huggingface_hub show its progress bars.

        Raises:
            HubError: the hub cannot be reached or refuses. Then the repository has none of the files, or all.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.utils import disable_progress_bars, logging

        logging.set_verbosity_error()
        with self._one_line_errors():
            if not bars:
                disable_progress_bars()
            private = plan.private
            if not plan.exists:  # None: the owner's default, which may be private
                self._api.create_repo(self.repository, private=True if self.private else None)
                private = bool(self._api.model_info(self.repository).private)
            operations = [CommitOperationAdd(file.path, file.content) for file in plan.contents.files]
            operations += [CommitOperationDelete(path) for path in plan.deleted]
            sent = self._api.create_commit(self.repository, operations, commit_message=message, parent_commit=plan.head)
        return PushResult(plan, sent.oid, private)

    @property
    def _api(self) -> HfApi:
        from huggingface_hub import HfApi

        return HfApi(endpoint=hub.endpoint().rstrip("/"), token=self._token)

    def _find(self) -> Any:
        """The hub's description of the repository; None: it does not exist."""
        from huggingface_hub.errors import RepositoryNotFoundError

        with self._one_line_errors():
            try:
                return self._api.model_info(self.repository)
            except RepositoryNotFoundError as error:
                if error.response.status_code != 404:
                    raise
                return None

    @contextlib.contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        """Turn errors of the hub's library into ours.

        The cause is cut off, because even a traceback must not show the token or a password in an address.
        """
        from huggingface_hub import errors

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the library's own, about HTTP and the card
            try:
                yield
            except (OSError, ValueError, RuntimeError, errors.HTTPError) as error:
                raise hub_answers.refusal(error, self.repository, self._token) from None
