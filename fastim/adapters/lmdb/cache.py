"""Decoded conversations, for those who read them again and again."""

from collections import OrderedDict

from fastim.adapters.lmdb.writer import Changed
from fastim.core.conversation import Conversation
from fastim.core.ids import AppNumber

_WEIGHT_MAX = 500_000
_CONVERSATION_WEIGHT = 10


class ConversationCache:
    """Decoded conversations, the least recently used dropped first; weighed by their members.

    Right because one process writes: what a commit stored is put here before anybody is told of it.
    """

    def __init__(self) -> None:
        self._conversations: OrderedDict[tuple[AppNumber, str], Conversation] = OrderedDict()
        self._weight = 0

    def get(self, key: tuple[AppNumber, str]) -> Conversation | None:
        conversation = self._conversations.get(key)
        if conversation is not None:
            self._conversations.move_to_end(key)
        return conversation

    def put(self, key: tuple[AppNumber, str], conversation: Conversation) -> None:
        self._drop(key)
        self._conversations[key] = conversation
        self._weight += _weight(conversation)
        while self._weight > _WEIGHT_MAX:
            _, dropped = self._conversations.popitem(last=False)
            self._weight -= _weight(dropped)

    def update(self, changed: Changed) -> None:
        for key, conversation in changed.items():
            if conversation is None:
                self._drop(key)
            else:
                self.put(key, conversation)

    def _drop(self, key: tuple[AppNumber, str]) -> None:
        dropped = self._conversations.pop(key, None)
        if dropped is not None:
            self._weight -= _weight(dropped)


def _weight(conversation: Conversation) -> int:
    return _CONVERSATION_WEIGHT + len(conversation.members) + len(conversation.muted)
