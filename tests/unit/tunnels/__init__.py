"""Tunnels: files, age of keys, lines, what carries them."""
