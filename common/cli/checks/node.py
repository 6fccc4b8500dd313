"""Checks of a node's configuration and of the files it names, as its service would read them; nothing is changed, no key is shown."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from common.cli.checks.delivery import check_applications, check_certificates, check_revoked
from common.cli.checks.finding import Check, Finding, fail, ok, warn
from common.errors import ConfigurationError, QkdError, TransportError
from common.keystore.sealing import load_master_key
from common.service.credentials import read_channel_keys, read_masks, read_secrets
from common.service.settings import DeliverySection, NodeSettings, load_settings
from common.service.startup import read_link


def node_checks(config: Path) -> tuple[Check, ...]:
    """Return the checks of one node.

    Parameters
    ----------
    config : Path
        Its configuration.

    Returns
    -------
    tuple[callable, ...]
        In the order in which they are printed; only the first where the configuration itself is wrong.
    """

    def configuration() -> Iterator[Finding]:
        yield from check_configuration(config)

    try:
        settings = _read(config)
    except ConfigurationError:
        return (configuration,)

    def secrets() -> Iterator[Finding]:
        yield from check_secrets(settings)

    def folders() -> Iterator[Finding]:
        yield from check_folders(settings)

    def service() -> Iterator[Finding]:
        yield from check_service(settings)

    delivery = () if settings.delivery is None else _delivery_checks(settings, settings.delivery)
    return configuration, secrets, folders, *delivery, service


def _delivery_checks(settings: NodeSettings, delivery: DeliverySection) -> tuple[Check, ...]:
    def certificates() -> Iterator[Finding]:
        yield from check_certificates(settings, delivery)

    def revoked_certificates() -> Iterator[Finding]:
        yield from check_revoked(settings, delivery)

    def applications() -> Iterator[Finding]:
        yield from check_applications(settings, delivery)

    return certificates, revoked_certificates, applications


def _read(config: Path) -> NodeSettings:
    """Read the configuration as the node that it is for would."""
    from alice.settings import AliceSettings
    from bob.settings import BobSettings

    kind = AliceSettings if load_settings(config, NodeSettings).channel.connect is not None else BobSettings
    return load_settings(config, kind)


def check_configuration(config: Path) -> Iterator[Finding]:
    """Check a configuration and the link profile it names.

    Parameters
    ----------
    config : Path
        The file.

    Yields
    ------
    Finding
        One for each.
    """
    try:
        settings = _read(config)
    except ConfigurationError as wrong:
        yield fail("configuration", str(wrong), "correct what it names; docs/reference/configuration lists all settings")
        return
    yield ok("configuration", f"{config}, for the end that {'connects' if settings.channel.connect else 'listens'}")
    try:
        profile, _ = read_link(settings)
    except QkdError as wrong:
        yield fail("link of the node", str(wrong), "the same profile has to lie at both ends: copy it from the other, or provision anew")
        return
    yield ok("link of the node", f"{profile.name}: {profile.title}")
    if profile.monitors is None or not profile.monitors.ranges:
        yield warn(
            "monitors",
            "the link profile certifies no ranges: nothing stops the key if detectors are blinded, or age",
            "give it the table monitors; docs/explanation/monitors says what it can see",
        )
    else:
        yield ok("monitors", ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in profile.monitors.ranges.items()))


def check_secrets(settings: NodeSettings) -> Iterator[Finding]:
    """Check that keys and secrets can be read, by this user and by nobody else.

    Parameters
    ----------
    settings : NodeSettings
        Names the files.

    Yields
    ------
    Finding
        One for each that is wrong, and one for those that are right.
    """
    channel, source = settings.channel, settings.store.master_key
    found = []
    try:
        read_channel_keys(settings.resolved(channel.key), settings.resolved(channel.peer_key))
        found.append("channel keys")
        read_masks(read_secrets(settings.resolved(channel.secret)), settings.resolved(channel.renewal))
        found.append("authentication secret")
        if source.startswith(("env:", "credential:")):
            yield ok("master key", f"comes from {source}, which only the service sees")
        else:
            load_master_key(source, settings.folder)
            found.append("master key")
    except ConfigurationError as wrong:
        yield fail("secrets", str(wrong), "run this check as the user of the service; secrets are for that user alone")
    if found:
        yield ok("secrets", f"{', '.join(found)}: read, and closed to others")


def check_folders(settings: NodeSettings) -> Iterator[Finding]:
    """Check that the node can write its state.

    Parameters
    ----------
    settings : NodeSettings
        Names the folders.

    Yields
    ------
    Finding
        One.
    """
    wanted = {settings.resolved(settings.node.state), settings.resolved(settings.store.path).parent}
    wrong = [folder for folder in wanted if not os.access(next(path for path in (folder, *folder.parents) if path.exists()), os.W_OK)]
    if wrong:
        yield fail("state of the node", f"{', '.join(map(str, wrong))} cannot be written", "make it a folder of the user of the service")
    else:
        yield ok("state of the node", ", ".join(sorted(map(str, wanted))))


def check_service(settings: NodeSettings) -> Iterator[Finding]:
    """Check whether the service runs, and what it says of its delivery.

    Parameters
    ----------
    settings : NodeSettings
        Names the admin socket.

    Yields
    ------
    Finding
        One, and one for delivery where there is any.
    """
    from common.service.admin_client import AdminClient

    try:
        with AdminClient(settings.resolved(settings.admin.socket)) as client:
            said = client.ask("status")
    except (TransportError, OSError):
        yield warn("service", "does not answer", "start it, if it should run; what is checked above does not need it")
        return
    session = said["session"]
    yield ok("service", f"{said['node']} runs: {session['activity']}, peer {'present' if session['peer_present'] else 'absent'}")
    if (alarm := said["monitors"]["alarm"]) is not None:
        yield warn("monitors", f"no key: {alarm}", "qkd status at Bob shows the readings; docs/explanation/monitors says what they mean")
    delivery = said.get("delivery")
    if delivery is None:
        return
    if not delivery["peer_ready"]:
        yield warn("key delivery", "the other node is not ready: nothing is delivered", "see its status, and the classical channel")
    elif delivery["orders_lost"]:
        yield warn(
            "key delivery",
            f"{delivery['orders_lost']} orders lost since the start: their key was spent, and the other node went away",
            "look for what interrupts the classical channel",
        )
    else:
        yield ok("key delivery", f"ready at {delivery['address']}")
