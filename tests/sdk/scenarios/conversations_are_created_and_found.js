/**
 * Creating with name, attributes and custom columns; unique conversations; loading by id.
 * Rules: 1.4, 1.5, 1.6
 */
'use strict';

const { assert, config, converse, idOf, open, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const due = new Date('2031-02-03T04:05:06.789Z');

  step('create');
  const before = Date.now();
  const created = await converse(ann, [bob, bob, ann], {
    name: 'Plan "B" 计划 🎈',
    attr: { level: 3, nested: { list: [1, 'two', null, { three: true }] } },
    colour: 'red',
    due,
  });
  assert.match(created.id, /^[0-9a-f]{24}$/);
  assert.equal(created.creator, ann.id);
  assert.ok(Math.abs(created.createdAt.getTime() - before) < 60_000, String(created.createdAt));

  step('what the other member finds');
  const [, invitation] = await bob.saw('invited', ({ invitedBy }, { id }) => invitedBy === ann.id && id === created.id);
  assert.equal(invitation.name, 'Plan "B" 计划 🎈');
  const found = await bob.client.getConversation(created.id, true);
  assert.equal(found.name, 'Plan "B" 计划 🎈');
  assert.deepEqual(found.get('attr'), { level: 3, nested: { list: [1, 'two', null, { three: true }] } });
  assert.equal(found.get('colour'), 'red');
  assert.deepEqual(found.get('due'), due);
  assert.equal(found.creator, ann.id);
  assert.equal(found.createdAt.getTime(), created.createdAt.getTime());
  assert.ok(found.updatedAt >= found.createdAt);
  assert.equal(found.lastMessage, undefined);
  assert.ok(!found.lastMessageAt, String(found.lastMessageAt));
  assert.ok(!found.transient && !found.system);
  sameSet(found.members, [ann.id, bob.id]);

  step('a conversation of nobody else');
  const alone = await converse(ann, []);
  sameSet((await cat.conversation(alone.id)).members, [ann.id]);

  step('not unique: every one is new');
  assert.notEqual((await converse(ann, [bob])).id, (await converse(ann, [bob])).id);

  step('unique: the same members are the same conversation');
  const unique = { unique: true };
  const first = await converse(ann, [bob, cat], unique);
  await cat.saw('invited', (_, { id }) => id === first.id);
  assert.equal((await converse(ann, [cat, bob, bob, ann], unique)).id, first.id);
  const fromBob = await converse(bob, [ann, cat], { ...unique, name: 'late name' });
  assert.equal(fromBob.id, first.id);
  const other = await converse(ann, [bob], unique);
  assert.notEqual(other.id, first.id);
  await cat.settled();
  cat.sawNo('invited');
  const seen = await cat.client.getConversation(first.id, true);
  assert.equal(seen.creator, ann.id, 'a repeated create changes nothing');
  assert.equal(seen.name, undefined, 'a repeated create changes nothing');
  assert.equal(seen.createdAt.getTime(), first.createdAt.getTime());
  sameSet(seen.members, [ann.id, bob.id, cat.id]);

  step('it stays the one of those with whom it began');
  const began = await converse(ann, [idOf('fay')], unique);
  await began.add([idOf('gus')]);
  assert.equal((await converse(ann, [idOf('fay')], unique)).id, began.id);
  assert.notEqual((await converse(ann, [idOf('fay'), idOf('gus')], unique)).id, began.id);

  step('what the SDK does when nobody says whether it is unique');
  const unsaid = [0, 1].map(() => ann.client.createConversation({ members: [idOf('dan')] }));
  const [one, two] = await Promise.all(unsaid);
  assert.equal(one.id === two.id, config.major === 5);

  step('a unique conversation is not one that was made otherwise');
  const plain = await converse(ann, [idOf('eve')]);
  assert.notEqual((await converse(ann, [idOf('eve')], unique)).id, plain.id);

  step('loading by id');
  assert.equal(await ann.client.getConversation('f'.repeat(24)), null);
  assert.equal(await ann.client.getConversation('not an id'), null);
  const fresh = await open('ann');
  const loaded = await fresh.client.getConversations([first.id, 'f'.repeat(24), created.id]);
  assert.deepEqual(loaded.map((conversation) => conversation && conversation.id), [first.id, null, created.id]);
  assert.equal((await bob.client.getConversation(alone.id)).id, alone.id, 'also for a client that is not in it');
});
