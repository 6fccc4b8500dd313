"""ChaCha20 as the library computes it, one block at a time."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms


def reference_chacha20_words(subkey: bytes, index: list[int]) -> list[int]:
    words = []
    for place in index:
        block, word = divmod(place, 16)
        cipher = Cipher(algorithms.ChaCha20(subkey, block.to_bytes(8, "little") + bytes(8)), mode=None)
        stream = cipher.encryptor().update(bytes(64))
        words.append(int.from_bytes(stream[4 * word : 4 * word + 4], "little"))
    return words
