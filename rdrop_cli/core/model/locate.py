"""Find a configured model: in a folder, in a package or on the hub. Imports nothing heavy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli.core.progress import Progress, no_progress
from rdrop_cli.core.storage import hub, starter
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import ModelError

if TYPE_CHECKING:
    from rdrop_cli.schema import HubConfig, ModelConfig


def locate_model(config: ModelConfig, hub_config: HubConfig) -> str:
    """The argument of `from_pretrained` for a configured model: a checked folder, or a hub id that is available.

    This is fast, and runs before anything heavy is imported.

    Raises:
        ModelError: there is no such model, or its folder lacks a configuration or safe weights.
        HubError: a model on the hub is neither cached nor reachable.
    """
    hub.prepare_environment(hub_config)
    if config.name == starter.MODEL_NAME:
        return str(starter.model_folder())
    path = user_path(config.name)
    if path.is_dir():
        check_model_folder(path)
        return str(path)
    if hub.looks_like_id(config.name):
        hub.require(config.name, "model", hub_config)
        return config.name
    raise ModelError(f"model {config.name}: no such folder", "Give a folder, a hub id (OWNER/NAME), or `starter`.")


def fetch_model(name: str, revision: str | None, on_progress: Progress = no_progress) -> str:
    """The folder of a model that `locate_model` found; a model on the hub is downloaded first.

    Raises:
        HubError: it cannot be downloaded.
    """
    if Path(name).is_dir():
        return name
    from rdrop_cli.core.storage.download import download_model

    return str(download_model(name, revision, on_progress))


def check_model_folder(folder: Path) -> None:
    """Make sure that a folder contains a configuration and safe weights.

    Raises:
        ModelError: it does not; pickled weights are refused.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no model in this folder (config.json is missing)")
    if not any(folder.glob("*.safetensors")):
        if any(folder.glob("*.bin")):
            raise ModelError(
                f"{folder}: the weights are pickled, and loading pickled weights can run code",
                "Convert them: from_pretrained(...).save_pretrained(...) writes safetensors.",
            )
        raise ModelError(f"{folder}: no weights in this folder (model.safetensors is missing)")
