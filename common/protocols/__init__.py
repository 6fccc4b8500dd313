"""What a protocol is, as data: states, sifting rule, test rule, proof."""
