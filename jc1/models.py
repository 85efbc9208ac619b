"""Names of models, and what each means: a bundled model, a folder, or a hub id.

Knows where bundled models lie and what a hub id looks like. Knows nothing about loading; a hub id is downloaded only
when its `path` is asked for. Importing this module costs nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jc1.errors import EngineUnavailable, UnknownModel

BUNDLED = Path(__file__).parent / "bundled"
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w][\w.-]{0,95}")


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Where a model comes from. `name` is what it is called by; `location` is its folder or its hub id."""

    name: str
    kind: Literal["bundled", "folder", "hub"]
    location: str

    @property
    def path(self) -> Path:
        """Return the model's folder; that of a hub id is downloaded first, or found in the hub's cache.

        Raises:
            EngineUnavailable: The hub cannot be reached and the cache does not hold the model.
        """
        return Path(self.location) if self.kind != "hub" else _download(self.location)

    def __str__(self) -> str:
        return f"{self.kind} {self.location}"


def bundled() -> tuple[str, ...]:
    """Return the names of the models that come with JC1."""
    if not BUNDLED.is_dir():
        return ()
    return tuple(sorted(f.name for f in BUNDLED.iterdir() if (f / "config.json").is_file()))


def seeing() -> tuple[str, ...]:
    """Return the names of those that come with JC1 and are shown pictures."""
    return tuple(name for name in bundled() if "vision_config" in (BUNDLED / name / "config.json").read_text("utf-8"))


def resolve(name: str) -> ModelSource:
    """Return the model that `name` means: a bundled one before a folder, a folder before the hub.

    Raises:
        UnknownModel: It can be none of the three, or the folder holds no model.
    """
    if name in bundled():
        return ModelSource(name, "bundled", str(BUNDLED / name))
    folder = Path(name).expanduser()
    if name.strip() and folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UnknownModel(f"The folder {name!r} holds no config.json: name the folder that the weights lie in.")
        return ModelSource(folder.resolve().name, "folder", str(folder.resolve()))
    if _HUB_ID.fullmatch(name):
        return ModelSource(name, "hub", name)
    known = ", ".join(bundled()) or "none"
    raise UnknownModel(
        f"No model {name!r}: use a bundled one ({known}), an existing folder, or a hub id such as 'organisation/name'."
    )


def unambiguous(name: str) -> str:
    """Return `name` so that it means the same from whichever folder JC1 is started: a folder's is its whole path."""
    try:
        source = resolve(name)
    except UnknownModel:
        return name  # another engine may know it
    return source.location if source.kind == "folder" else name


def unreadable(folder: Path, file: str) -> EngineUnavailable:
    """Return the error for a file of a model's folder that does not hold what it should."""
    return EngineUnavailable(f"The {file} of {folder.name!r} cannot be read: download the model again.")


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.jinja", "*.txt", "*.model", "*.safetensors"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise EngineUnavailable(
            f"The model {hub_id!r} could not be fetched from the hub ({type(error).__name__}): check the id and the "
            "network, or give the path of a folder."
        ) from None
