"""Sockets in, commands out, no rules: every door brings the same commands to the runtime's gateway."""
