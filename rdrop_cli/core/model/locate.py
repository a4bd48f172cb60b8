"""Where a configured model is: in a folder, in a package or on the hub. Nothing heavy is imported."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rdrop_cli.core.storage import hub, starter
from rdrop_cli.core.storage.files import user_path
from rdrop_cli.errors import ModelError

if TYPE_CHECKING:
    from rdrop_cli.core.progress import Progress
    from rdrop_cli.schema import HubConfig, ModelConfig


def locate_model(config: ModelConfig, hub_config: HubConfig) -> str:
    """What `from_pretrained` takes for a configured model: a folder that was checked, or a hub id that can be had.

    Cheap, and done before anything heavy is imported.

    Raises:
        ModelError: no such model, or a folder without what is needed.
        HubError: a hub id that is neither cached nor reachable.
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


def fetch_model(name: str, revision: str | None, on_progress: Progress | None = None) -> str:
    """The folder of a model that `locate_model` found; one on the hub is downloaded.

    Raises:
        HubError: it cannot be downloaded.
    """
    if Path(name).is_dir():
        return name
    from rdrop_cli.core.storage.download import download_model

    return str(download_model(name, revision, on_progress))


def check_model_folder(folder: Path) -> None:
    """Make sure a folder holds a configuration and safe weights.

    Raises:
        ModelError: it does not; pickled weights are refused.
    """
    if not (folder / "config.json").is_file():
        raise ModelError(f"{folder}: no model here (config.json is missing)")
    if not any(folder.glob("*.safetensors")):
        if any(folder.glob("*.bin")):
            raise ModelError(
                f"{folder}: the weights are pickled, which can run code when loaded",
                "Convert them: from_pretrained(...).save_pretrained(...) writes safetensors.",
            )
        raise ModelError(f"{folder}: no weights here (model.safetensors is missing)")
