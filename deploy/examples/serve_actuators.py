"""Serve wave plates of your own to Bob: replace `turn`, name them, start this, and point [stabiliser] address here."""  # noqa: INP001

import json
import math
import socketserver
import sys

PLATES = {"plate1": 0.0, "plate2": 0.0, "plate3": 0.0}  # quarter, half, quarter, in the order of the light; {"phase": 0.0} with time bins


def turn(name: str, radians: float) -> float:
    """Turn the plate, wait until it is there, and return where it stands. Here: nothing turns, so that the script runs."""
    PLATES[name] = radians
    return PLATES[name]


def answer(line: bytes) -> dict[str, object]:
    """Carry out one request; what it cannot mean is refused."""
    try:
        request = json.loads(line)
        name = request.get("set", request.get("get"))
    except (ValueError, AttributeError):
        return {"error": "not a JSON object"}
    if name not in PLATES:
        return {"error": f"{name!r}: there is {', '.join(PLATES)}"}
    if "set" not in request:
        return {"name": name, "position": PLATES[name]}
    value = request.get("value")
    if not isinstance(value, (int, float)) or not math.isfinite(value):
        return {"error": f"{name}: {value!r} is not a number"}
    return {"name": name, "position": turn(name, value)}


class Requests(socketserver.StreamRequestHandler):
    """One connection of Bob's: a line in, a line out."""

    def handle(self) -> None:
        """Answer until he goes."""
        while (line := self.rfile.readline(4096)).endswith(b"\n"):
            self.wfile.write(json.dumps(answer(line)).encode() + b"\n")


def main(port: int) -> None:
    """Serve for ever, to one Bob at a time."""
    with socketserver.TCPServer(("127.0.0.1", port), Requests) as server:
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7713)
