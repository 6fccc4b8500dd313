"""``qkd otp``: files, messages and pictures through the one-time pad, with key from a running node or from a key file."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from common.cli.options import EXISTING_FILE, json_option
from common.errors import ConfigurationError, TransportError

if TYPE_CHECKING:
    from common.api.pads import PadClient, Passed

F = TypeVar("F", bound=Callable[..., Any])

_IN_OR_PIPE = click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path)
_OUT_OR_PIPE = click.Path(dir_okay=False, allow_dash=True, path_type=Path)


def _pad_options(function: F) -> F:
    """Add what encrypting and decrypting have in common."""
    for option in (
        json_option,
        click.option(
            "--alice-share",
            type=click.FloatRange(0, 1),
            default=None,
            help="With --key: share of the key for messages from Alice, fixed at first use and the same at both ends; a half unless told.",
        ),
        click.option(
            "--end",
            type=click.Choice(["alice", "bob"]),
            default=None,
            help="With --key: whose key file it is, where its name does not say.",
        ),
        click.option("--picture", is_flag=True, help="Encrypt pixels: what comes out is a picture to look at."),
        click.option("--out", "target", required=True, type=_OUT_OR_PIPE, help="What to write; - is standard output."),
        click.option("--in", "source", required=True, type=_IN_OR_PIPE, help="What to read; - is standard input."),
        click.option(
            "--key",
            default=None,
            type=click.Path(dir_okay=False, path_type=Path),
            help="Key file of this end; its ledger is kept beside it.",
        ),
        click.option("--config", default=None, type=EXISTING_FILE, help="Configuration of the running node whose key is used."),
    ):
        function = option(function)
    return function


@click.group("otp")
def command() -> None:
    """Encrypt and decrypt with the one-time pad.

    Key comes from the store of a running node (--config) or from a key file (--key). It is spent before it is used and never given
    twice. A message of n bytes spends n + 16 bytes; where fewer are left, nothing is encrypted and the exit status is 4.

    \b
    Example:
      qkd otp encrypt --config nodes/alice/config.toml --in letter.txt --out letter.otp
      qkd otp decrypt --config nodes/bob/config.toml --in letter.otp --out letter.txt
    """


@command.command("encrypt")
@_pad_options
@click.option(
    "--pad-to",
    type=click.IntRange(min=16, max=1 << 30),
    default=None,
    metavar="BYTES",
    help="Fill the message up to a multiple of so many bytes, so that its length does not show.",
)
def encrypt(*, source: Path, target: Path, picture: bool, pad_to: int | None, as_json: bool, **chosen: Any) -> None:
    """Encrypt a file, a message from standard input, or a picture.

    \b
    Example:
      echo "meet me at noon" | qkd otp encrypt --config nodes/alice/config.toml --in - --out message.otp
      qkd otp encrypt --config nodes/alice/config.toml --in sunset.jpg --out noise.png --picture
      qkd otp encrypt --key alice.key --in letter.txt --out letter.otp --pad-to 1024
    """
    if picture and pad_to is not None:
        raise ConfigurationError("--pad-to does not go with --picture: the size of an encrypted picture is seen by everybody")
    pad = _opened_pad(**chosen)
    passed = pad.encrypt_picture(source, target) if picture else pad.encrypt_file(source, target, pad_to)
    _say("encrypted", pad, passed, source, target, as_json=as_json)


@command.command("decrypt")
@_pad_options
def decrypt(*, source: Path, target: Path, picture: bool, as_json: bool, **chosen: Any) -> None:
    """Decrypt what the other end encrypted; nothing is written unless every bit of it is as it was sent.

    \b
    Example:
      qkd otp decrypt --config nodes/bob/config.toml --in message.otp --out -
      qkd otp decrypt --key bob.key --in noise.png --out sunset.png --picture
    """
    pad = _opened_pad(**chosen)
    passed = (pad.decrypt_picture if picture else pad.decrypt_file)(source, target)
    _say("decrypted", pad, passed, source, target, as_json=as_json)


def _opened_pad(*, config: Path | None, key: Path | None, end: str | None, alice_share: float | None) -> PadClient:
    """Open the pad that the options name."""
    from common.api.pads import PadClient

    if (config is None) == (key is None):
        raise ConfigurationError("say where the key is: --config FILE for a running node, or --key FILE for a key file")
    if key is not None:
        return PadClient.of_key_file(key, end, alice_share)
    if end is not None or alice_share is not None:
        raise ConfigurationError("--end and --alice-share go with --key: a node knows which end it is, and how its key is shared out")
    return PadClient.of_node(config or Path())


def _say(done: str, pad: PadClient, passed: Passed, source: Path, target: Path, *, as_json: bool) -> None:
    """Report on standard output, or on standard error where the message itself goes to standard output."""
    left: int | None = None
    with contextlib.suppress(TransportError):  # the node may have gone since; the message is done all the same
        left = pad.left_bits()
    result = {
        "done": done,
        "in": str(source),
        "out": str(target),
        "message_bits": passed.message_bits,
        "key_bits_spent": passed.key_bits,
        "key_bits_left_to_send": left,
    }
    text = f"{done} {passed.message_bits} bits; {passed.key_bits} bits of key spent"
    text += "" if left is None else f", {left} left for messages from this end"
    click.echo(json.dumps(result) if as_json else text, err=str(target) == "-")
