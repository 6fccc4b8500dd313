"""The named links as TOML files, and their checking."""
