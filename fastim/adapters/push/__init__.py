"""Push providers: each carries notifications to one kind of device; fulfil ``fastim.ports.push.PushProvider``."""
