"""Members: add and remove, which is also how one joins and leaves."""

from fastim.core.commands import AddMembers, RemoveMembers
from fastim.core.events import MembersAdded, MembersRemoved
from fastim.core.members import add, remove
from fastim.core.permission import permitted
from fastim.core.replies import MembersChanged
from fastim.core.session import Session
from fastim.service.io import Io
from fastim.service.signatures import required_signature, use


async def add_members(io: Io, session: Session, command: AddMembers) -> MembersChanged:
    """Add those who may be added, then tell everybody concerned."""
    signature = await required_signature(io, session.client_id, command)
    async with io.lanes.hold(command.conversation_id):
        found = await io.store.find_conversation(command.conversation_id)
        conversation = permitted(found, session.client_id, command)
        change = add(conversation, command.members, io.policy, io.clock.now())
        await use(io, signature, command)
        after = change.conversation
        if change.clients:
            await io.store.change_conversation(after, joined=change.clients)
    if change.clients:
        event = MembersAdded(
            after.id, after.kind, change.clients, after.members, by=session.client_id, at=after.updated_at
        )
        await io.bus.publish(event)
    return MembersChanged(added=True, allowed=change.allowed, updated_at=after.updated_at, failed=change.failed)


async def remove_members(io: Io, session: Session, command: RemoveMembers) -> MembersChanged:
    """Remove members, then tell everybody concerned."""
    signature = await required_signature(io, session.client_id, command)
    async with io.lanes.hold(command.conversation_id):
        found = await io.store.find_conversation(command.conversation_id)
        conversation = permitted(found, session.client_id, command)
        change = remove(conversation, command.members, io.clock.now())
        await use(io, signature, command)
        after = change.conversation
        if change.clients:
            await io.store.change_conversation(after, left=change.clients)
    if change.clients:
        event = MembersRemoved(
            after.id, after.kind, change.clients, after.members, by=session.client_id, at=after.updated_at
        )
        await io.bus.publish(event)
    return MembersChanged(added=False, allowed=change.allowed, updated_at=after.updated_at, failed=change.failed)
