"""Everything that can go wrong, by what happens next.

``Refusal``: reply and go on. ``Closure`` and its kind ``WireError``: close this connection. ``Unavailable``: an engine
cannot be reached, the client may send again. ``SettingsError``: do not start. ``WordListError``: the old list stays in
force. Anything else is a bug.

Codes and names, but for 1001, are LeanCloud's, because official SDKs know them by name; this module is their only list.
Source: wire protocol, error codes.
"""

from collections.abc import Sequence
from typing import ClassVar


class FastimError(Exception):
    """What all of fastim's own errors have in common."""


class SettingsError(FastimError):
    """The server cannot start as it is set up; the text says what to do, in one line."""


class HookError(FastimError):
    """A hook could not be called, or has not answered as it should; the text says how, and no secret."""


class WordListError(FastimError):
    """A list of words cannot be put in force; the text says why, in one line.

    Args:
        says: What is wrong, where it is not the lines; with ``problems``, what comes before them.
        problems: Lines that cannot be used, from 1, and what is wrong with each, in order: the first ``TOLD``.
        count: How many there are.
    """

    TOLD = 20

    def __init__(self, says: str, problems: Sequence[tuple[int, str]] = (), count: int = 0) -> None:
        told = "; ".join(f"line {number} {reason}" for number, reason in problems)
        untold = count - len(problems)
        super().__init__(f"{says}{told}{f'; and {untold} more lines' if untold > 0 else ''}")
        self.problems = tuple(problems)


class CodedError(FastimError):
    """An error that a client is told about by code and name.

    Args:
        detail: Free text for the developer at the other end; never a secret, never a message body.
    """

    code: ClassVar[int]
    reason: ClassVar[str]
    reasons: ClassVar[dict[int, str]] = {}
    """Every code in use and its name."""

    def __init_subclass__(cls, code: int | None = None, reason: str = "") -> None:
        if code is None:
            return
        if cls.reasons.setdefault(code, reason) != reason:
            raise TypeError(f"{cls.__name__} gives code {code} a second name")
        cls.code, cls.reason = code, reason

    def __init__(self, detail: str = "") -> None:
        super().__init__(detail or self.reason)
        self.detail = detail


class Refusal(CodedError):
    """The request was understood and will not be done; the session goes on."""


class MessageTooLong(Refusal, code=4109, reason="FRAME_TOO_LONG"):
    """The message, with all that travels with it, is too long."""


class RejectedByHook(Refusal):
    """A hook of the application's turned it down.

    Args:
        app_code: The hook's own code; 0 for none.
        app_message: What goes with it, or empty.
    """

    def __init__(self, app_code: int = 0, app_message: str = "") -> None:
        super().__init__()
        self.app_code = app_code
        self.app_message = app_message


class Closure(CodedError):
    """The connection or the session ends, and the client is told why."""


class Unavailable(CodedError, code=4200, reason="INTERNAL_ERROR"):
    """The store cannot take it now; nothing was done, and the client may send it again."""


class AppNotAvailable(Refusal, code=4100, reason="APP_NOT_AVAILABLE"):
    """No such application here."""


class SignatureFailed(Refusal, code=4102, reason="SIGNATURE_FAILED"):
    """The application wants a signature, and none was given, or one that is wrong, too old, used or void."""


class SigningRejected(SignatureFailed):
    """A hook does not want the user to log in; its own words go along."""


class InvalidLogin(Refusal, code=4103, reason="INVALID_LOGIN"):
    """The client id is empty, too long or not printable."""


class SessionRequired(Refusal, code=4105, reason="SESSION_REQUIRED"):
    """No session of that client is open on this connection."""


class SessionConflict(Refusal, code=4111, reason="SESSION_CONFLICT"):
    """Another device has a session with the same tag."""


class SessionTokenExpired(Refusal, code=4112, reason="SESSION_TOKEN_EXPIRED"):
    """The session token is unknown or too old."""


class SendQuotaExceeded(Refusal, code=4116, reason="MESSAGE_SENT_QUOTA_EXCEEDED"):
    """The client sends too much in a minute, or the chat room takes no more of that priority now."""


class UnbindFailed(Refusal, code=4117, reason="UNBIND_INSTALLATION_FAILED"):
    """The session is closed, but its device still gets what is pushed to the client."""


class HookFailed(Refusal, code=4200, reason="INTERNAL_ERROR"):
    """A hook of the application's does not answer, and without its word nothing is done; it may be tried again."""


class InternalError(Refusal, code=4200, reason="INTERNAL_ERROR"):
    """A bug, or something that this server does not do."""


class ConversationSignatureFailed(Refusal, code=4302, reason="CONVERSATION_SIGNATURE_FAILED"):
    """As 4102, for starting a conversation and for changing its members."""


class ConversationNotFound(Refusal, code=4303, reason="CONVERSATION_NOT_FOUND"):
    """No such conversation."""


class ConversationFull(Refusal, code=4304, reason="CONVERSATION_FULL"):
    """The conversation has as many members as it may have."""


class ConversationRejected(RejectedByHook, code=4305, reason="CONVERSATION_REJECTED_BY_APP"):
    """A hook turned down a new conversation, or a change of one."""


class UpdateFailed(Refusal, code=4306, reason="CONVERSATION_UPDATE_FAILED"):
    """The attributes cannot be changed in this way."""


class UpdateRejected(Refusal, code=4309, reason="CONVERSATION_UPDATE_REJECTED"):
    """Only a member may change the conversation."""


class QueryFailed(Refusal, code=4310, reason="CONVERSATION_QUERY_FAILED"):
    """The query is malformed or asks too much."""


class HistoryFailed(Refusal, code=4311, reason="CONVERSATION_LOG_FAILED"):
    """The history cannot be read in this way."""


class HistoryRejected(Refusal, code=4312, reason="CONVERSATION_LOG_REJECTED"):
    """Only a member may read the history."""


class NormalConversationRequired(Refusal, code=4314, reason="NORMAL_CONVERSATION_REQUIRED"):
    """Not with this type of conversation."""


class MembershipRequired(Refusal, code=4317, reason="CONVERSATION_MEMBERSHIP_REQUIRED"):
    """Only a member may do this."""


class OperationQuotaExceeded(Refusal, code=4318, reason="CONVERSATION_API_QUOTA_EXCEEDED"):
    """The client asks for too much in a minute; anything but sending."""


class SendingNotAllowed(Refusal, code=4308, reason="CONVERSATION_NOT_ALLOWED"):
    """Not here, or not in this way."""


class SystemConversationRequired(Refusal, code=4313, reason="SYSTEM_CONVERSATION_REQUIRED"):
    """Only with a service conversation."""


class ChatRoomRequired(Refusal, code=4316, reason="TRANSIENT_CONVERSATION_REQUIRED"):
    """Only with a chat room."""


class SilencedForATime(Refusal, code=4315, reason="CONVERSATION_TEMPORARY_BLACKLISTED"):
    """The sender may not speak here for a while."""


class RankTooLow(Refusal, code=4320, reason="CONVERSATION_OPERATION_UNAUTHORIZED"):
    """The asker's role is not above what it takes, or not above the other's."""


class UnknownRole(Refusal, code=4321, reason="UNKNOWN_CONVERSATION_ROLE"):
    """No such role, or not one that can be given."""


class OwnerNeeded(Refusal, code=4324, reason="CONVERSATION_NEED_OWNER"):
    """The conversation would lose its owner."""


class RolesDisabled(Refusal, code=4325, reason="CONVERSATION_MEMBER_INFO_FEATURE_DISABLED"):
    """The application does without roles."""


class InvalidTarget(Refusal, code=4401, reason="INVALID_MESSAGING_TARGET"):
    """No such conversation, or not a member."""


class MessageRejected(RejectedByHook, code=4402, reason="MESSAGE_REJECTED_BY_APP"):
    """A hook turned the message down."""


class MessageNotOwned(Refusal, code=4403, reason="MESSAGE_OWNERSHIP_REQUIRED"):
    """Only its sender may change a message."""


class MessageNotFound(Refusal, code=4404, reason="MESSAGE_NOT_FOUND"):
    """No such message."""


class PatchRejected(RejectedByHook, code=4405, reason="MESSAGE_UPDATE_REJECTED_BY_APP"):
    """A hook turned down that the message is modified or recalled."""


class ModifyDisabled(Refusal, code=4406, reason="MESSAGE_EDIT_DISABLED"):
    """The application does not let messages be modified."""


class RecallDisabled(Refusal, code=4407, reason="MESSAGE_RECALL_DISABLED"):
    """The application does not let messages be recalled."""


class BlacklistFull(Refusal, code=4543, reason="BLACKLIST_FULL"):
    """As many are blocked as may be."""


class BlacklistDisabled(Refusal, code=4544, reason="BLACKLIST_FEATURE_DISABLED"):
    """The application does without blacklists."""


class BlacklistSignatureFailed(Refusal, code=4546, reason="BLACKLIST_SIGNATURE_FAILED"):
    """As 4102, for blocking and unblocking."""


class Blocked(Refusal, code=4548, reason="BLOCKED_BY_CONV"):
    """The client is blocked here, or refuses to be added."""


class SilencedListFull(Refusal, code=4561, reason="SILIENCED_MEMBER_LIST_FULL"):
    """As many are silenced as may be. The spelling is as published."""


class Silenced(Refusal, code=4563, reason="SILIENCED"):
    """The sender may not speak here. The spelling is as published."""


class ServerStopping(Closure, code=1001, reason="SERVER_STOPPING"):
    """The server stops; come back in a moment. The code is WebSocket's own for going away."""


class FellBehind(Closure, code=1013, reason="FELL_BEHIND"):
    """More messages of high priority wait for it than are kept: it comes back for them. The code is WebSocket's own."""


class FrameTooLong(Closure, code=4109, reason="FRAME_TOO_LONG"):
    """What came is longer than any command may be."""


class ReadTimeout(Closure, code=4107, reason="READ_TIMEOUT"):
    """Nothing was heard of the client for too long."""


class LoginTimeout(Closure, code=4108, reason="LOGIN_TIMEOUT"):
    """No session was opened in time."""


class KickedByApp(Closure, code=4115, reason="KICKED_BY_APP"):
    """The application ended the client's sessions; what it was told as the reason takes the place of the name."""


class WireError(Closure, code=4114, reason="UNPARSEABLE_RAW_MESSAGE"):
    """What came is not a command."""
