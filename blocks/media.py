"""Where films and their parts are kept."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Self

from prefect.blocks.core import Block
from pydantic import Field

from tabario.clients.store import MediaStore, open_store
from tabario.settings import ApiSettings, MediaSettings


class MediaStoreLocation(Block):
    """The place of finished films and kept parts, and the address that people open films at."""

    _block_type_name: ClassVar[str] = "Media Store"
    _block_type_slug: ClassVar[str] = "tabario-media-store"
    _description: ClassVar[str] = "The store of films, pictures and voiceovers."

    root: str = Field(description="Directory of the store, the same for every worker and front door.")
    public_url: str = Field(description="Address of the front door, for links to films.")

    @classmethod
    def from_settings(cls, media: MediaSettings, api: ApiSettings) -> Self:
        """The block that says what the settings say. The root becomes absolute: workers run elsewhere."""
        return cls(root=str(media.root.resolve()), public_url=api.public_url.rstrip("/"))

    def open(self) -> MediaStore:
        """The store."""
        return open_store(MediaSettings(root=Path(self.root)))
