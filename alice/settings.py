"""Alice's configuration: a node's, with what her end of the channel has to say."""

from __future__ import annotations

from typing import Self

from pydantic import model_validator

from common.service.settings import NodeSettings


class AliceSettings(NodeSettings):
    """A node that has to say ``channel.connect``, where Bob listens."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.channel.connect is None or self.channel.bind is not None:
            raise ValueError("channel: say connect, where Bob listens, and leave out bind")
        if self.stabiliser is not None:
            raise ValueError("stabiliser: plates and phase shifter are Bob's, leave the table out")
        return self
