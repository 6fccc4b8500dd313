"""Keys for applications: ETSI GS QKD 014 over mutual TLS, each key held at both ends before either is given it."""
