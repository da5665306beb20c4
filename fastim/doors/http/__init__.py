"""The HTTP port: what is a WebSocket handshake goes to our own codec, all else to aiohttp."""
