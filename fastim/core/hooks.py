"""Hooks: what an operator's own code is asked and told, and what it may answer.

A *question* is put before something happens, and its answer may change or refuse it. A *notice* says what has happened.
Both are written as LeanCloud's hooks are, names and all, so that existing back ends understand them; operators who
write hooks in Python get these very values. What becomes of an answer is decided by the use case that asked.
Source: semantics, section 14.
"""

from typing import Any, ClassVar, Generic, TypeVar

from msgspec import Struct, field

from fastim.core.units import Millis


class Answer(Struct, frozen=True, kw_only=True):
    """What a hook may answer; all fields are optional, and ``{}`` changes nothing."""


class MessageAnswer(Answer, frozen=True, kw_only=True):
    """To a message, or a change of one.

    Attributes:
        drop: It is refused: the sender is told ``code`` and ``detail``.
        code: The hook's own, for the sender's app; 0 for none.
        content: Takes the body's place; Base64 where ``bin``.
        bin: Whether ``content`` is binary; ``None``: as the body was.
        to_peers: Those of the receivers who get it; ``None``: all. In a chat room and a service conversation,
            where the hook is told of none by name, it can leave out none.
    """

    drop: bool = False
    code: int = 0
    detail: str = ""
    bin: bool | None = None
    content: str | None = None
    to_peers: tuple[str, ...] | None = field(default=None, name="toPeers")


class OfflineAnswer(Answer, frozen=True, kw_only=True):
    """To receivers being offline.

    Attributes:
        skip: Nobody is pushed anything.
        offline_peers: Who is pushed something; ``None``: those who are offline.
        push_message: What is pushed, JSON object text; ``None``: what the message or the application says.
        force: Those who muted the conversation are pushed it, too.
    """

    skip: bool = False
    offline_peers: tuple[str, ...] | None = field(default=None, name="offlinePeers")
    push_message: str | None = field(default=None, name="pushMessage")
    force: bool = False


class ConversationAnswer(Answer, frozen=True, kw_only=True):
    """To a conversation being started or its members changed.

    Attributes:
        reject: It is refused: the client is told ``code`` and ``detail``.
        code: The hook's own, for the client's app; 0 for none.
    """

    reject: bool = False
    code: int = 0
    detail: str = ""


class UpdateAnswer(ConversationAnswer, frozen=True, kw_only=True):
    """To attributes being changed, or a mute; only the one that was asked counts.

    Attributes:
        attr: Takes the place of the attributes.
        mute: Takes the place of the mute.
    """

    attr: dict[str, Any] | None = None
    mute: bool | None = None


class SignAnswer(Answer, frozen=True, kw_only=True):
    """To a user who asks for a signature to log in with.

    LeanCloud's hook answers ``{"result": true}``, or ``{"result": false, "error": "..."}`` to refuse.
    """

    result: bool = True
    error: str = ""


A = TypeVar("A", bound=Answer)


class Call(Struct, frozen=True, kw_only=True):
    """What is said to a hook.

    Attributes:
        hook: LeanCloud's name of it.
    """

    hook: ClassVar[str]


class Question(Call, Generic[A], frozen=True, kw_only=True):
    """Waits for an answer before it goes on."""


class Notice(Call, frozen=True, kw_only=True):
    """Waits for nothing."""


class MessageReceived(Question[MessageAnswer], frozen=True, kw_only=True):
    """A message was admitted and is about to be filtered, stored and delivered.

    Attributes:
        to_peers: The members who are to get it; nobody in a chat room and a service conversation.
        content: Base64 where ``bin``.
        system: Whether it is to a service conversation.
        source_ip: Where it came from, or empty.
    """

    hook: ClassVar[str] = "_messageReceived"
    from_peer: str = field(name="fromPeer")
    conversation_id: str = field(name="convId")
    to_peers: tuple[str, ...] = field(name="toPeers")
    transient: bool
    bin: bool
    content: str
    receipt: bool
    timestamp: Millis
    system: bool
    source_ip: str = field(name="sourceIP")
    group_id: None = field(default=None, name="groupId")


class ReceiversOffline(Question[OfflineAnswer], frozen=True, kw_only=True):
    """Some receivers of a message are offline and may be pushed something. Never asked of a chat room.

    Attributes:
        mention_offline_peers: Those of them whom it mentions; empty where it mentions everybody.
    """

    hook: ClassVar[str] = "_receiversOffline"
    from_peer: str = field(name="fromPeer")
    conversation_id: str = field(name="convId")
    offline_peers: tuple[str, ...] = field(name="offlinePeers")
    content: str
    timestamp: Millis
    mention_all: bool = field(name="mentionAll")
    mention_offline_peers: tuple[str, ...] = field(name="mentionOfflinePeers")


class MessageUpdate(Question[MessageAnswer], frozen=True, kw_only=True):
    """A message is about to be modified or recalled."""

    hook: ClassVar[str] = "_messageUpdate"
    from_peer: str = field(name="fromPeer")
    conversation_id: str = field(name="convId")
    to_peers: tuple[str, ...] = field(name="toPeers")
    bin: bool
    content: str
    timestamp: Millis
    message_id: str = field(name="msgId")
    source_ip: str = field(name="sourceIP")
    recall: bool
    system: bool


class ConversationStart(Question[ConversationAnswer], frozen=True, kw_only=True):
    """A conversation is about to be created, its signature was checked.

    Attributes:
        attr: Its columns: ``name``, ``attr`` and what else the client gave.
    """

    hook: ClassVar[str] = "_conversationStart"
    init_by: str = field(name="initBy")
    members: tuple[str, ...]
    attr: dict[str, Any]


class ConversationAdd(Question[ConversationAnswer], frozen=True, kw_only=True):
    """Clients are about to be added, or one to join; not asked of the members that a conversation starts with."""

    hook: ClassVar[str] = "_conversationAdd"
    init_by: str = field(name="initBy")
    members: tuple[str, ...]
    conversation_id: str = field(name="convId")


class ConversationRemove(Question[ConversationAnswer], frozen=True, kw_only=True):
    """Members are about to be removed by somebody else; who leaves is not asked about."""

    hook: ClassVar[str] = "_conversationRemove"
    init_by: str = field(name="initBy")
    members: tuple[str, ...]
    conversation_id: str = field(name="convId")


class ConversationUpdate(Question[UpdateAnswer], frozen=True, kw_only=True, omit_defaults=True):
    """Attributes are about to change, or a member switches its offline push off or on: exactly one of the two.

    Attributes:
        attr: What is to change, as the client wrote it.
        mute: Whether it is to be muted.
    """

    hook: ClassVar[str] = "_conversationUpdate"
    init_by: str = field(name="initBy")
    conversation_id: str = field(name="convId")
    attr: dict[str, Any] | None = None
    mute: bool | None = None


class ClientSign(Question[SignAnswer], frozen=True, kw_only=True):
    """A user, whose session token was checked, asks for a signature to log in with.

    Attributes:
        user: The user's fields as whoever keeps them tells them; these are the call's own parameters.
    """

    hook: ClassVar[str] = "_rtmClientSign"
    user: dict[str, Any]


class MessageSent(Notice, frozen=True, kw_only=True):
    """A message was sent.

    Attributes:
        online_peers: Those of its receivers who were online; nobody in a chat room and a service conversation.
        offline_peers: Those who were not.
        content: Base64 where ``bin``.
    """

    hook: ClassVar[str] = "_messageSent"
    from_peer: str = field(name="fromPeer")
    conversation_id: str = field(name="convId")
    message_id: str = field(name="msgId")
    online_peers: tuple[str, ...] = field(name="onlinePeers")
    offline_peers: tuple[str, ...] = field(name="offlinePeers")
    transient: bool
    system: bool
    bin: bool
    content: str
    receipt: bool
    timestamp: Millis
    source_ip: str = field(name="sourceIP")


class ConversationStarted(Notice, frozen=True, kw_only=True):
    """A conversation was created."""

    hook: ClassVar[str] = "_conversationStarted"
    conversation_id: str = field(name="convId")


class ConversationAdded(Notice, frozen=True, kw_only=True):
    """Clients became members."""

    hook: ClassVar[str] = "_conversationAdded"
    init_by: str = field(name="initBy")
    conversation_id: str = field(name="convId")
    members: tuple[str, ...]


class ConversationRemoved(Notice, frozen=True, kw_only=True):
    """Members were removed, or left."""

    hook: ClassVar[str] = "_conversationRemoved"
    init_by: str = field(name="initBy")
    conversation_id: str = field(name="convId")
    members: tuple[str, ...]


class ClientOnline(Notice, frozen=True, kw_only=True):
    """A session was opened.

    Attributes:
        reconnect: 1 when the SDK came back by itself, else 0.
    """

    hook: ClassVar[str] = "_clientOnline"
    peer_id: str = field(name="peerId")
    source_ip: str = field(name="sourceIP")
    tag: str
    reconnect: int


class ClientOffline(Notice, frozen=True, kw_only=True, omit_defaults=True):
    """A session has ended.

    Attributes:
        close_code: 1 the client closed it, 2 its connection was lost, 3 another device took its tag, 4 the application
            ended it.
        close_message: The same in words.
        source_ip: Not said of a connection that was lost.
        error_code: The code that the connection was closed with, where it was the server who did.
    """

    hook: ClassVar[str] = "_clientOffline"
    peer_id: str = field(name="peerId")
    close_code: int = field(name="closeCode")
    close_message: str = field(name="closeMsg")
    tag: str
    source_ip: str | None = field(default=None, name="sourceIP")
    error_code: int | None = field(default=None, name="errorCode")
    error_message: str | None = field(default=None, name="errorMsg")


class ServiceMessage(Struct, frozen=True, kw_only=True):
    """What a client wrote to a service conversation, as its back end is told. Source: semantics, service web hook.

    Attributes:
        conversation: A pointer to the conversation.
        data: The body; Base64 where ``bin``.
        created_at: ISO 8601, as ``updated_at``.
    """

    message_id: str = field(name="msgId")
    conversation: dict[str, str] = field(name="conv")
    sender: str = field(name="from")
    bin: bool
    data: str
    source_ip: str = field(name="fromIp")
    created_at: str = field(name="createdAt")
    updated_at: str = field(name="updatedAt")


QUESTIONS: dict[type[Question[Any]], type[Answer]] = {
    MessageReceived: MessageAnswer,
    ReceiversOffline: OfflineAnswer,
    MessageUpdate: MessageAnswer,
    ConversationStart: ConversationAnswer,
    ConversationAdd: ConversationAnswer,
    ConversationRemove: ConversationAnswer,
    ConversationUpdate: UpdateAnswer,
    ClientSign: SignAnswer,
}
"""Every question and what is answered to it."""

UNANSWERED: dict[type[Question[Any]], Answer] = {question: answer() for question, answer in QUESTIONS.items()}
"""What counts as the answer of a hook that has failed and is gone on without: this very value, and no hook gives it."""

NOTICES: tuple[type[Notice], ...] = (
    MessageSent,
    ConversationStarted,
    ConversationAdded,
    ConversationRemoved,
    ClientOnline,
    ClientOffline,
)

CALLS: dict[str, type[Call]] = {kind.hook: kind for kind in (*QUESTIONS, *NOTICES)}
"""Every hook by its name."""
