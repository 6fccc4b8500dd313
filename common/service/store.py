"""Opens the key store a configuration asks for, in the thread that alone will ever touch it."""

from __future__ import annotations

from common.channel.authentication import ChannelSecrets
from common.channel.codec import Party
from common.keystore.interface import KeyStore
from common.keystore.rotation import finish
from common.keystore.sealing import load_master_key, master_key_file
from common.keystore.sqlite import SqliteKeyStore
from common.service.credentials import read_masks
from common.service.settings import NodeSettings
from common.service.startup import check_folder


def open_store(settings: NodeSettings, party: Party, secrets: ChannelSecrets) -> KeyStore:
    """Open the key store.

    Parameters
    ----------
    settings : NodeSettings
        Says where it lies and how it is sealed.
    party : Party
        Whose it is.
    secrets : ChannelSecrets
        With the masks of the first provisioning.

    Returns
    -------
    KeyStore
        Open.
    """
    path = settings.resolved(settings.store.path)
    check_folder(path.parent, "store.path")
    if key_file := master_key_file(settings.store.master_key, settings.folder):
        finish(path, key_file)
    return SqliteKeyStore(
        path,
        party,
        load_master_key(settings.store.master_key, settings.folder),
        masks=read_masks(secrets, settings.resolved(settings.channel.renewal)),
        rule=settings.store.rule,
        capacity_bits=settings.store.capacity_bits,
        expiry_seconds=settings.store.expiry_seconds,
    )
