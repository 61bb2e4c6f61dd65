"""Sockets, frames, limits and deadlines; reaches the engine through responders only."""
