"""Keys for tunnels: both ends of a WireGuard or IPsec tunnel take the same key from their nodes, and change to it together."""
