"""Settings from words and from packed bytes, written as the format page states them."""


def reference_classify_words(words: list[int], thresholds: list[int]) -> list[int]:
    return [sum(threshold <= word for threshold in thresholds) for word in words]


def reference_pack_settings(settings: list[int], bits_per_setting: int) -> bytes:
    text = "".join(format(setting, f"0{bits_per_setting}b") for setting in settings)
    text += "0" * (-len(text) % 8)
    return bytes(int(text[place : place + 8], 2) for place in range(0, len(text), 8))


def reference_unpack_settings(packed: bytes, bits_per_setting: int, first: int, count: int) -> list[int]:
    text = "".join(format(byte, "08b") for byte in packed)
    places = range(first * bits_per_setting, (first + count) * bits_per_setting, bits_per_setting)
    return [int(text[place : place + bits_per_setting], 2) for place in places]


def reference_gather_settings(packed: bytes, bits_per_setting: int, index: list[int]) -> list[int]:
    return [reference_unpack_settings(packed, bits_per_setting, place, 1)[0] for place in index]
