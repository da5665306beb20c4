/**
 * Owner, managers and members: who may do what to whom, who is told, and where it is read.
 * Rules: 4.1, 4.2, 4.3, 4.4, 4.5, 4.6
 */
'use strict';

const { assert, converse, idOf, open, refused, scenario, step } = require('../harness');

const UNAUTHORIZED = [4320, 'CONVERSATION_OPERATION_UNAUTHORIZED'];
const NEED_OWNER = [4324, 'CONVERSATION_NEED_OWNER'];

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const { OWNER, MANAGER, MEMBER } = ann.sdk.ConversationMemberRole;
  const conversation = await converse(ann, [bob, cat, idOf('dan')]);
  const [bobs, cats] = [await bob.conversation(conversation.id), await cat.conversation(conversation.id)];
  const roles = async (copy) => {
    const infos = await copy.getAllMemberInfo({ noCache: true });
    return Object.fromEntries(infos.map(({ memberId, role }) => [memberId, role]));
  };
  const records = async () => {
    const query = { where: { cid: conversation.id } };
    const request = { method: 'GET', path: '/classes/_ConversationMemberInfo', query };
    return (await cat.client._requestWithSessionToken(request)).results.map(({ clientId, role }) => [clientId, role]);
  };
  const told = async (member, role, by) => {
    for (const user of [ann, bob, cat]) {
      const [payload, where] = await user.saw('memberinfoupdated');
      assert.equal(payload.member, member);
      assert.equal(payload.memberInfo.memberId, member);
      assert.equal(payload.memberInfo.role, role);
      assert.equal(payload.updatedBy, by.id);
      assert.equal(where.id, conversation.id);
    }
  };

  step('at first the creator is the owner and the others are members');
  const initial = { [ann.id]: OWNER, [bob.id]: MEMBER, [cat.id]: MEMBER, [idOf('dan')]: MEMBER };
  assert.deepEqual(await roles(conversation), initial);
  assert.equal((await bobs.getMemberInfo(ann.id)).isOwner, true);
  assert.deepEqual(await records(), []);

  step('a member cannot raise itself, nor silence or block anybody');
  await refused(bobs.updateMemberRole(bob.id, MANAGER), ...UNAUTHORIZED);
  await refused(bobs.muteMembers([cat.id]), ...UNAUTHORIZED);
  await refused(bobs.blockMembers([cat.id]), ...UNAUTHORIZED);

  step('the owner makes a manager');
  await conversation.updateMemberRole(bob.id, MANAGER);
  await told(bob.id, MANAGER, ann);
  for (const copy of [conversation, bobs, cats]) {
    assert.deepEqual(await roles(copy), { ...initial, [bob.id]: MANAGER });
  }
  assert.deepEqual(await records(), [[bob.id, MANAGER]]);

  step('nobody becomes the owner, and there are no other roles');
  await assert.rejects(conversation.updateMemberRole(bob.id, OWNER), { code: 5130 });
  await refused(conversation.updateMemberRole(bob.id, 'King'), 4321, 'UNKNOWN_CONVERSATION_ROLE');

  step('a manager does what members may not, to those below');
  await bobs.muteMembers([cat.id]);
  await cat.saw('muted', ({ mutedBy }) => mutedBy === bob.id);
  await refused(cats.unmuteMembers([cat.id]), ...UNAUTHORIZED);
  await bobs.unmuteMembers([cat.id]);
  await bobs.remove([idOf('dan')]);
  await cat.saw('membersleft', ({ kickedBy, members }) => kickedBy === bob.id && members[0] === idOf('dan'));
  await bobs.blockMembers([idOf('dan')]);
  await bobs.unblockMembers([idOf('dan')]);
  await bobs.updateMemberRole(cat.id, MEMBER);
  await told(cat.id, MEMBER, bob);
  await refused(bobs.muteMembers([ann.id]), ...UNAUTHORIZED);
  await refused(bobs.blockMembers([ann.id]), ...UNAUTHORIZED);
  await refused(bobs.updateMemberRole(ann.id, MEMBER), ...UNAUTHORIZED);

  step('a silenced manager does not help itself');
  await conversation.muteMembers([bob.id]);
  await bob.saw('muted');
  await refused(bobs.unmuteMembers([bob.id]), ...UNAUTHORIZED);
  await conversation.unmuteMembers([bob.id]);

  step('a member adds, and does not remove');
  await cats.add([idOf('eve')]);
  await bob.saw('membersjoined', ({ members }) => members[0] === idOf('eve'));
  await refused(cats.remove([idOf('eve')]), ...UNAUTHORIZED);

  step('the owner stays');
  await refused(conversation.quit(), ...NEED_OWNER);
  const { successfulClientIds, failures } = await conversation.remove([idOf('eve'), ann.id]);
  assert.deepEqual(successfulClientIds, [idOf('eve')]);
  assert.deepEqual(failures.map(({ code, name, clientIds }) => [code, name, clientIds]), [[...NEED_OWNER, [ann.id]]]);

  step('a manager becomes a member again');
  await conversation.updateMemberRole(bob.id, MEMBER);
  await told(bob.id, MEMBER, ann);
  assert.deepEqual(await roles(cats), { [ann.id]: OWNER, [bob.id]: MEMBER, [cat.id]: MEMBER });
  await refused(bobs.muteMembers([cat.id]), ...UNAUTHORIZED);
});
