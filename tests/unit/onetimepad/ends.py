"""Two ends that hold the same key file, and what tests do with them."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common.channel.codec import Party
from common.onetimepad.files import decrypt_file, encrypt_file
from common.onetimepad.pad import Pad


@dataclass
class Ends:
    """A folder with ``alice.key`` and ``bob.key``."""

    folder: Path

    @classmethod
    def with_key(cls, folder: Path, count_bytes: int, seed: int = 1) -> "Ends":
        key = np.random.default_rng(seed).bytes(count_bytes)
        for name in ("alice", "bob"):
            path = folder / f"{name}.key"
            path.touch(mode=0o600)
            path.write_bytes(key)
        return cls(folder)

    def pad(self, party: Party, alice_share: float | None = None) -> Pad:
        return Pad(self.folder / f"{party.name.lower()}.key", alice_share=alice_share)

    def send(self, message: bytes, name: str = "message", sender: Party = Party.ALICE) -> Path:
        (self.folder / name).write_bytes(message)
        encrypt_file(self.pad(sender), self.folder / name, self.folder / f"{name}.otp")
        return self.folder / f"{name}.otp"

    def receive(self, encrypted: Path, receiver: Party = Party.BOB) -> bytes:
        target = encrypted.with_suffix(f".{receiver.name.lower()}")
        target.unlink(missing_ok=True)
        decrypt_file(self.pad(receiver), encrypted, target)
        return target.read_bytes()

    def copied(self, folder: Path) -> "Ends":
        """Both ends as they are, in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Ends(folder)
