"""The classical channel without its socket: catalogue, codec, envelope, message authentication and transcript tags."""
