"""Members: add and remove, which is also how one joins and leaves."""

from fastim.core.commands import AddMembers, RemoveMembers
from fastim.core.events import MembersAdded, MembersRemoved
from fastim.core.members import add, existing, remove
from fastim.core.replies import MembersChanged
from fastim.core.session import Session
from fastim.service.io import Io


async def add_members(io: Io, session: Session, command: AddMembers) -> MembersChanged:
    """Add those who may be added, then tell everybody concerned."""
    async with io.lanes.hold(command.conversation_id):
        conversation = existing(await io.store.find_conversation(command.conversation_id))
        change = add(conversation, command.members, session.client_id, io.policy, io.clock.now())
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
    async with io.lanes.hold(command.conversation_id):
        conversation = existing(await io.store.find_conversation(command.conversation_id))
        change = remove(conversation, command.members, session.client_id, io.clock.now())
        after = change.conversation
        if change.clients:
            await io.store.change_conversation(after, left=change.clients)
    if change.clients:
        event = MembersRemoved(
            after.id, after.kind, change.clients, after.members, by=session.client_id, at=after.updated_at
        )
        await io.bus.publish(event)
    return MembersChanged(added=False, allowed=change.allowed, updated_at=after.updated_at, failed=change.failed)
