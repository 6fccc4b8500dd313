"""Recordings as other people's taggers write them, from the formats' descriptions, with numpy alone."""

import numpy as np

SIGNATURE = bytes(range(40))


def write_qutag(path, t_ps, channel):
    records = np.empty(len(t_ps), [("t_ps", "<i8"), ("channel", "<u2")])
    records["t_ps"], records["channel"] = t_ps, channel
    path.write_bytes(SIGNATURE + records.tobytes())
    return path


def event_words(ticks, detectors, *, filler=()):
    """S-Fifteen events: time in 54 bits, two unused bits set as the cards do, detectors and the filler's mark below."""
    low = np.array([0x300 | 0x20 * (tick % 2) for tick in ticks], np.uint64) | np.asarray(detectors, np.uint64)
    for place in filler:
        low[place] |= np.uint64(0x10)
    return (np.array([tick % (1 << 54) for tick in ticks], np.uint64) << np.uint64(10)) | low


def write_events(path, words, layout):
    """Layouts ``a0 a0x a1 a1x a2``, x with the upper half first where that is not the rule."""
    halves = [(int(word) >> 32, int(word) & 0xFFFFFFFF) for word in words]
    match layout:
        case "a1":
            path.write_bytes(np.asarray(words, "<u8").tobytes())
        case "a1x":
            path.write_bytes(np.array(halves, "<u4").tobytes())
        case "a2":
            path.write_text("".join(f"{upper:08x}{lower:08x}\n" for upper, lower in halves))
        case "a0":
            path.write_text("".join(f"{lower:08x}\n{upper:08x}\n" for upper, lower in halves))
        case "a0x":
            path.write_text("".join(f"{upper:08x}\n{lower:08x}\n" for upper, lower in halves))
    return path


def shuffled_within(t_ps, channel, reach, rng):
    """Tags as a tagger with buffers writes them: each at most ``reach`` places from where it belongs."""
    order = np.argsort(np.arange(len(t_ps)) + rng.uniform(0, reach, len(t_ps)), kind="stable")
    return np.asarray(t_ps)[order], np.asarray(channel)[order]
