"""The two answers that refuse."""

from fastim.core.hooks import MessageAnswer, UpdateAnswer


def drop(code: int = 0, detail: str = "") -> MessageAnswer:
    """Refuse a message, or a change of one.

    Args:
        code: Your own, for the sender's app; 0 for none.
        detail: What goes with it.
    """
    return MessageAnswer(drop=True, code=code, detail=detail)


def reject(code: int = 0, detail: str = "") -> UpdateAnswer:
    """Refuse a new conversation, or a change of one's members or attributes.

    Args:
        code: Your own, for the client's app; 0 for none.
        detail: What goes with it.
    """
    return UpdateAnswer(reject=True, code=code, detail=detail)
