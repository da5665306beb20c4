"""The messages that a client could not send, for its application to send again or to drop."""

from collections.abc import Collection, Iterator

from msgspec import Struct

from fastim.client.errors import Refused
from fastim.client.kept import FailedMessage
from fastim.client.sending import send
from fastim.client.session import Session
from fastim.client.values import Message


class Resent(Struct, frozen=True):
    """What came of sending failed messages again.

    Attributes:
        sent: As the server has them now.
        refused: What the server does not take, and why; they are still among the failed.
    """

    sent: tuple[Message, ...]
    refused: tuple[tuple[FailedMessage, Refused], ...]


class FailedMessages(Collection[FailedMessage]):
    """Messages of which it is not known that they were sent, oldest first; ``Client.failed``.

    A message gets here when ``send`` raises because the connection is lost or the client is over, or when it is
    cancelled, by a timeout for instance. It leaves when it was sent, whether from here or by another ``send`` with its
    token, or when it is dropped. It may have been sent before: the token sees to it that it is stored and delivered
    once. Transient messages, wills, and what the server has refused do not get here.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def __len__(self) -> int:
        return len(self._session.kept.messages)

    def __iter__(self) -> Iterator[FailedMessage]:
        return iter(self._session.kept.messages)

    def __contains__(self, message: object) -> bool:
        return message in self._session.kept.messages

    async def resend(self, message: FailedMessage) -> Message:
        """Send a message again and return it as stored.

        Raises:
            Refused: The server does not take it; it stays here until it is dropped.
            ClientError: It could not be sent again; it stays here.
        """
        return await send(self._session, message)

    async def resend_all(self) -> Resent:
        """Send all of them again, oldest first.

        Raises:
            ClientError: The connection is lost again, or the client is over; those that are left stay here.
        """
        sent: list[Message] = []
        refused: list[tuple[FailedMessage, Refused]] = []
        for message in self:
            try:
                sent.append(await self.resend(message))
            except Refused as refusal:
                refused.append((message, refusal))
        return Resent(tuple(sent), tuple(refused))

    async def drop(self, message: FailedMessage) -> None:
        """Give a message up; harmless when it is not here.

        Raises:
            OSError: The file cannot be written: it will be back when the program is started again.
        """
        await self._session.kept.forget(message)
