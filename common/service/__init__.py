"""The asyncio shell of a node: transport, driver, supervisor, admin socket, start-up. Holds no physics and no protocol."""
