"""The protocol without I/O: bytes to commands, replies and events to bytes, and the state of one connection."""
