"""Reading messages as the types that an application knows."""

from typing import Generic, TypeVar

import msgspec

from fastim.client.bodies import TypedMessage
from fastim.client.values import Message

Typed = TypeVar("Typed", bound=TypedMessage)


class MessageTypes(Generic[Typed]):
    """Reads messages of the types that an application knows.

    Raises:
        TypeError: One of them has no number, or two have the same.
    """

    def __init__(self, *types: type[Typed]) -> None:
        self._decoders: dict[int, msgspec.json.Decoder[Typed]] = {}
        for known in types:
            if known.number() in self._decoders:
                raise TypeError(f"{known.__name__} has the number of another type")
            self._decoders[known.number()] = msgspec.json.Decoder(known)

    def read(self, message: Message) -> Typed | None:
        """``message`` as a value of its type; ``None`` when it is of none of these types.

        Raises:
            ValueError: It has the number of one of them, and is none.
        """
        number = message.type
        decoder = None if number is None else self._decoders.get(number)
        return None if decoder is None else decoder.decode(message.raw)
