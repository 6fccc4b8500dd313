"""``qkd status``: how a running node does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from common.cli.options import EXISTING_FILE, json_option


@click.command("status")
@click.option("--config", required=True, type=EXISTING_FILE, help="Configuration of the node.")
@json_option
def command(*, config: Path, as_json: bool) -> None:
    """Ask a running node how it does: session, error rates, key rates, blocks, key store, authentication reserve.

    \b
    Example:
      qkd status --config nodes/alice/config.toml
    """
    from common.service.admin_client import AdminClient

    with AdminClient.of(config) as client:
        status = client.ask("status")
    click.echo(json.dumps(status) if as_json else summary(status))


def summary(status: dict[str, Any]) -> str:
    """Say in a few lines how a node does.

    Parameters
    ----------
    status : dict
        As the node answered.

    Returns
    -------
    str
        Lines for a terminal.
    """
    session, rates, reserve = status["session"], status["rates"], status["authentication_reserve"]
    qber = ", ".join(f"{basis} {value:.2%}" for basis, value in status["qber"].items() if value is not None) or "not measured yet"
    rate = rates["secret_bits_per_second"]
    discarded = ", ".join(f"{count} {reason}" for reason, count in status["blocks_discarded"].items()) or "none"
    refused = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in status["refused"].items() if count) or "nothing"
    pools = ", ".join(f"{name} {bits} bits" for name, bits in status["store"]["pools"].items())
    peer = "present" if session["peer_present"] else "absent"
    alarm = f", EMPTY: {reserve['advice']}" if reserve["empty"] else ", LOW" if reserve["low"] else ""
    lines = [
        f"{status['node']} on {status['title']}: {session['activity']}, session {session['state']}, peer {peer}",
        f"QBER {qber}; " + ("no key rate yet" if rate is None else f"{rate:.0f} secret bits a second of link time"),
        pace(status["pace"]),
        f"blocks: {status['blocks_kept']} kept; discarded: {discarded}; {status['secret_bits']} secret bits since the start",
        monitors(status["monitors"]),
        f"key store: {pools}",
        f"authentication reserve: {reserve['pairs']} mask pairs of {reserve['target_pairs']}{alarm}",
        f"refused: {refused}",
        *alarms(status),
    ]
    if status["drift"]:
        lines.append(drift(status["drift"]))
    if status.get("delivery"):
        lines += delivery(status["delivery"])
    failure = session["last_failure"]
    return "\n".join([*lines, f"last failure: {failure['error']}"] if failure else lines)


def alarms(status: dict[str, Any]) -> list[str]:
    """Say which alarms are raised.

    Parameters
    ----------
    status : dict
        As the node answered.

    Returns
    -------
    list[str]
        One line for a terminal, or none where the node looks at no alarms.
    """
    if "dashboard" not in status:
        return []
    raised = "; ".join(f"{alarm['name']} ({alarm['severity']}): {alarm['meaning']}" for alarm in status["dashboard"]["alarms"])
    return [f"alarms: {raised or 'none'}"]


def delivery(status: dict[str, Any]) -> list[str]:
    """Say how key delivery does.

    Parameters
    ----------
    status : dict
        The entry ``delivery`` of a node's answer.

    Returns
    -------
    list[str]
        Lines for a terminal.
    """
    ready = "ready" if status["peer_ready"] else "NOT READY: the other node delivers nothing at present"
    answers = ", ".join(f"{count} with {code}" for code, count in sorted(status["answers"].items())) or "none"
    kept = f"{status['keys_ordered']} keys ordered here, {status['keys_held']} held for the other end's orders"
    gone = f"{status['keys_collected']} of them fetched, {status['keys_expired']} expired"
    lost = f"; {status['orders_lost']} orders LOST" if status["orders_lost"] else ""
    lines = [f"key delivery at {status['address']}: {ready}; {kept}, {gone}{lost}; answers: {answers}"]
    quotas = [f"{name} {quota['left_bits']} of {quota['quota_bits']} bits left" for name, quota in status["quotas"].items()]
    over = f"; {status['orders_over_quota']} orders refused" if status["orders_over_quota"] else ""
    return [*lines, f"quotas: {', '.join(quotas)}{over}"] if quotas else lines


def drift(status: dict[str, Any]) -> str:
    """Say how drift is compensated.

    Parameters
    ----------
    status : dict
        The entry ``drift`` of Bob's answer.

    Returns
    -------
    str
        One line for a terminal.
    """
    qber = "not measured yet" if status["qber"] is None else f"{status['qber']:.1%} ± {status['sigma']:.1%}"
    positions = ", ".join(f"{name} {position:.3f} rad" for name, position in status["positions"].items()) or "nowhere yet"
    problem = f"; {status['problem']}" if status["problem"] else ""
    return f"drift: {status['state']}, QBER {qber}, {status['decision']}; {positions}{problem}"


def pace(status: dict[str, Any]) -> str:
    """Say how the node keeps pace with its stream.

    Parameters
    ----------
    status : dict
        The entry ``pace`` of a node's answer.

    Returns
    -------
    str
        One line for a terminal.
    """
    method, round_trip_ms = status["method"], status["round_trip_ms"]
    effort = f" with {status['effort']} effort" if status["effort"] else ""
    by = f"reconciled by {method}{effort}, prepared for a QBER of {status['working_qber']:.2%}" if method else "nothing reconciled yet"
    distance = "distance unknown" if round_trip_ms is None else f"round trip {round_trip_ms:.1f} ms"
    return f"{by}; {distance}; {status['groups_under_way']} of {status['groups_in_flight']} groups of blocks under way"


def monitors(status: dict[str, Any]) -> str:
    """Say what the monitors of a node read.

    Parameters
    ----------
    status : dict
        The entry ``monitors`` of a node's answer.

    Returns
    -------
    str
        One line for a terminal.
    """
    if not status["watched"]:
        return "monitors: the link profile certifies no ranges, nothing is watched"
    readings = [f"{reading['name']} {reading['verdict']}" for reading in status["readings"]]
    said = ", ".join(readings) or ("no block yet" if status["alarm"] is None else "nothing at this end")
    return f"monitors: {said}" if status["alarm"] is None else f"monitors: NO KEY, {status['alarm']}; {said}"
