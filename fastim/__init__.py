"""fastim: a self-hosted instant-messaging server that speaks LeanCloud IM's protocol."""
