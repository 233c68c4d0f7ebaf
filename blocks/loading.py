"""Loading a deployed block."""

from __future__ import annotations

from typing import TypeVar

from prefect.blocks.core import Block

from tabario.errors import ConfigurationError

B = TypeVar("B", bound=Block)


async def load(kind: type[B], name: str) -> B:
    """The saved block. Raises ConfigurationError when there is none."""
    try:
        return await kind.aload(name)
    except (ValueError, RuntimeError) as error:  # Prefect's words for a missing document and for missing fields
        slug = f"{kind.get_block_type_slug()}/{name}"
        raise ConfigurationError(
            f"The block {slug} is missing or of an older version; run `tabario deploy`."
        ) from error
