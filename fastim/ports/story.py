"""The story of a message: what became of it that nothing else says, for whoever looks into it soon after."""

from typing import Protocol

from fastim.core.hooks import MessageAnswer
from fastim.core.message import Draft, Message


class Story(Protocol):
    def judged(
        self, conversation_id: str, message: Message, answer: MessageAnswer | None, given: Draft | Message
    ) -> None:
        """A hook was asked about a message, or about a change of one, or listed words were masked in it.

        Args:
            message: As it is now.
            answer: The hook's; ``None``: it was not asked.
            given: As it was before words were looked for.
        """
        ...
