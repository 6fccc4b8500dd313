"""Conversations as generators, the engine that runs them, and the rehearsal that runs both ends in memory."""
