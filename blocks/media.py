"""Where films and their parts are kept."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Final, Self

from prefect.blocks.core import Block
from pydantic import Field, SecretStr

from tabario.clients.store import MediaStore, open_store
from tabario.settings import ApiSettings, MediaSettings

SHARED_FIELDS: Final = (
    *("bucket", "endpoint", "region", "access_key", "secret_key"),
    *("keep_films_days", "keep_parts_days", "quota_gib"),
)


class MediaStoreLocation(Block):
    """The place of finished films and kept parts, and the address that people open films at."""

    _block_type_name: ClassVar[str] = "Media Store"
    _block_type_slug: ClassVar[str] = "tabario-media-store"
    _description: ClassVar[str] = "The store of films, pictures and voiceovers."

    root: str = Field(description="Directory of the store, the same for every worker and front door.")
    bucket: str | None = Field(default=None, description="S3-compatible bucket in place of the directory.")
    endpoint: str | None = Field(default=None, description="Address of the S3 service.")
    region: str = Field(description="Region of the bucket.")
    access_key: SecretStr | None = Field(default=None, description="Access key id of the bucket.")
    secret_key: SecretStr | None = Field(default=None, description="Secret access key of the bucket.")
    keep_films_days: float = Field(description="Days that films are kept.")
    keep_parts_days: float = Field(description="Days that voiceovers and pictures are kept.")
    quota_gib: float = Field(description="GiB of one user.")
    public_url: str = Field(description="Address of the front door, for links to films.")

    @classmethod
    def from_settings(cls, media: MediaSettings, api: ApiSettings) -> Self:
        """The block that says what the settings say. The root becomes absolute: workers run elsewhere."""
        fields = {name: getattr(media, name) for name in SHARED_FIELDS}
        return cls(root=str(media.root.resolve()), public_url=api.public_url.rstrip("/"), **fields)

    def settings(self) -> MediaSettings:
        """The same as settings, with what a worker's host decides for itself left out."""
        return MediaSettings(root=Path(self.root), **{name: getattr(self, name) for name in SHARED_FIELDS})

    def open(self) -> MediaStore:
        """The store."""
        return open_store(self.settings())
