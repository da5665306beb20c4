"""REST: JSON calls of an application's own servers. Source: REST reference."""

from fastim.doors.http.rest.routes import add_rest

__all__ = ["add_rest"]
