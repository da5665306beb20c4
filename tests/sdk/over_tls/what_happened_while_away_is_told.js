/**
 * Reliable notifications: what was done to a client while it was away is told when it comes back, once.
 * Rules: 3.7, 4.5, 4.8, 4.10
 */
'use strict';

const { assert, converse, idOf, open, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await open('ann'), await open('bob')];
  const rooms = {};
  for (const name of ['left', 'blocked', 'silenced', 'managed']) rooms[name] = await converse(ann, [bob, idOf('cat')]);
  const { MANAGER } = ann.sdk.ConversationMemberRole;
  for (let n = 0; n < 4; n += 1) await bob.saw('membersjoined');
  const told = (event, conversation, matches = () => true) =>
    bob.saw(event, (payload, { id }) => id === conversation.id && matches(payload));

  step('what happens to it while it is away');
  await bob.goAway(ann);
  bob.forget();
  await rooms.left.remove([bob.id]);
  await rooms.blocked.blockMembers([bob.id]);
  await rooms.silenced.muteMembers([bob.id]);
  await rooms.managed.updateMemberRole(bob.id, MANAGER);
  const invited = [];
  for (let n = 0; n < 40; n += 1) invited.push(await converse(ann, [bob]));
  await bob.comeBack();

  step('it is told');
  await told('kicked', rooms.left, ({ kickedBy }) => kickedBy === ann.id);
  await told('blocked', rooms.blocked, ({ blockedBy }) => blockedBy === ann.id);
  await told('kicked', rooms.blocked, ({ kickedBy }) => kickedBy === ann.id);
  await told('muted', rooms.silenced, ({ mutedBy }) => mutedBy === ann.id);
  const [{ member, memberInfo }] = await told('memberinfoupdated', rooms.managed);
  assert.deepEqual([member, memberInfo.role], [bob.id, MANAGER]);
  for (const conversation of invited) await told('invited', conversation, ({ invitedBy }) => invitedBy === ann.id);
  for (const event of ['kicked', 'blocked', 'muted', 'invited', 'memberinfoupdated']) bob.sawNo(event);

  step('once');
  await bob.goAway(ann);
  const late = await converse(ann, [bob]);
  await bob.comeBack();
  await told('invited', late);
  await bob.settled();
  for (const event of ['kicked', 'blocked', 'muted', 'invited', 'memberinfoupdated']) bob.sawNo(event);

  step('a new device asks for nothing');
  const phone = await open('bob');
  await phone.settled();
  phone.sawNo('invited');
});
