"""Bob's configuration: a node's, with what his end of the channel has to say."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from common.service.settings import NodeSettings


class BobSettings(NodeSettings):
    """A node that has to say ``channel.bind``, where he listens."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.channel.bind is None or self.channel.connect is not None:
            raise ValueError("channel: say bind, where he listens, and leave out connect")
        return self
