"""The shuffle of whole words with lists of bits: words are lists, a matrix is turned by taking the j-th bit of every word.

Stands for ``mix_words`` of ``common.kernels.bit_mixing``.
"""


def mixed(words, orders, rotations):
    """``words`` (lists of 64 bits, lowest first) in the order in which they come out."""
    for order, distances in zip(orders[:-1], rotations, strict=True):
        words = [list(words[index]) for index in order]
        for begin in range(0, len(words), 64):
            first = min(begin, len(words) - 64)
            turned = [
                word[-by:] + word[:-by] if by else word for word, by in zip(words[first : first + 64], distances[begin:], strict=False)
            ]
            words[first : first + 64] = [list(column) for column in zip(*turned, strict=True)]
    return [words[index] for index in orders[-1]]
