"""The half that knows the event loop: connections, dispatch, lanes, delivery, and what watches over them."""
