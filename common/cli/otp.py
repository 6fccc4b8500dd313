"""``qkd otp``: files, messages and pictures through the one-time pad, with key from the files that ``qkd distil`` writes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from common.cli.options import json_option

if TYPE_CHECKING:
    from common.onetimepad.envelope import Header
    from common.onetimepad.pad import Pad

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
            help="Share of the key for messages from Alice, fixed at first use and the same at both ends; a half unless told.",
        ),
        click.option("--end", type=click.Choice(["alice", "bob"]), default=None, help="Whose key file it is, where its name does not say."),
        click.option("--picture", is_flag=True, help="Encrypt pixels: what comes out is a picture to look at."),
        click.option("--out", "target", required=True, type=_OUT_OR_PIPE, help="What to write; - is standard output."),
        click.option("--in", "source", required=True, type=_IN_OR_PIPE, help="What to read; - is standard input."),
        click.option(
            "--key",
            required=True,
            type=click.Path(dir_okay=False, path_type=Path),
            help="Key file of this end; its ledger is kept beside it.",
        ),
    ):
        function = option(function)
    return function


@click.group("otp")
def command() -> None:
    """Encrypt and decrypt with the one-time pad.

    Key is spent before it is used and never given twice: a ledger beside the key file keeps account, and spent key is erased.
    A message of n bytes spends n + 32 bytes; where fewer are left, nothing is encrypted and the exit status is 4.

    \b
    Example:
      qkd otp encrypt --key alice.key --in letter.txt --out letter.otp
      qkd otp decrypt --key bob.key --in letter.otp --out letter.txt
    """


@command.command("encrypt")
@_pad_options
def encrypt(*, key: Path, source: Path, target: Path, picture: bool, end: str | None, alice_share: float | None, as_json: bool) -> None:
    """Encrypt a file, a message from standard input, or a picture.

    \b
    Example:
      echo "meet me at noon" | qkd otp encrypt --key alice.key --in - --out message.otp
      qkd otp encrypt --key alice.key --in sunset.jpg --out noise.png --picture
    """
    from common.onetimepad.files import encrypt_file
    from common.onetimepad.pictures import encrypt_picture

    pad = _pad(key, end, alice_share)
    header = (encrypt_picture if picture else encrypt_file)(pad, source, target)
    _say("encrypted", pad, header, source, target, as_json=as_json)


@command.command("decrypt")
@_pad_options
def decrypt(*, key: Path, source: Path, target: Path, picture: bool, end: str | None, alice_share: float | None, as_json: bool) -> None:
    """Decrypt what the other end encrypted; nothing is written unless every bit of it is as it was sent.

    \b
    Example:
      qkd otp decrypt --key bob.key --in message.otp --out -
      qkd otp decrypt --key bob.key --in noise.png --out sunset.png --picture
    """
    from common.onetimepad.files import decrypt_file
    from common.onetimepad.pictures import decrypt_picture

    pad = _pad(key, end, alice_share)
    header = (decrypt_picture if picture else decrypt_file)(pad, source, target)
    _say("decrypted", pad, header, source, target, as_json=as_json)


def _pad(key: Path, end: str | None, alice_share: float | None) -> Pad:
    from common.channel.codec import Party
    from common.onetimepad.pad import Pad

    return Pad(key, Party[end.upper()] if end else None, alice_share)


def _say(done: str, pad: Pad, header: Header, source: Path, target: Path, *, as_json: bool) -> None:
    """Report on standard output, or on standard error where the message itself goes to standard output."""
    left = pad.count_left_bits()
    result = {
        "done": done,
        "in": str(source),
        "out": str(target),
        "message_bits": 8 * header.count_bytes,
        "key_bits_spent": 8 * header.stretch.count_bytes,
        "key_bits_left_to_send": left,
    }
    text = (
        f"{done} {8 * header.count_bytes} bits; {8 * header.stretch.count_bytes} bits of key spent, {left} left for messages from this end"
    )
    click.echo(json.dumps(result) if as_json else text, err=str(target) == "-")
