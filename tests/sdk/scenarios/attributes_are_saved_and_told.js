/** Changing attributes: the reply, what the others and the other devices hear, and what is stored. */
'use strict';

const { assert, converse, open, refused, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob, cat] = [await open('ann'), await open('bob'), await open('cat')];
  const tablet = await open('ann');
  const conversation = await converse(ann, [bob], { name: 'old', attr: { level: 1, kept: true }, colour: 'red', n: 1 });
  // Each of these events makes the SDK load the conversation, and what it loaded earlier may overwrite a change.
  for (const user of [ann, tablet, bob]) await user.saw('invited').then(() => user.saw('membersjoined'));
  const bobs = await bob.conversation(conversation.id);
  const heard = new Promise((resolve) => bobs.once('infoupdated', resolve));
  await tablet.conversation(conversation.id);
  const created = bobs.updatedAt;

  step('set and save');
  conversation.name = 'new';
  conversation.set('attr.level', 2);
  conversation.set('colour', 'blue');
  await conversation.save();
  assert.ok(conversation.updatedAt > created, `${conversation.updatedAt} is later than ${created}`);
  const changes = { name: 'new', 'attr.level': 2, colour: 'blue' };
  for (const user of [bob, tablet]) {
    const [{ attributes, updatedBy }, told] = await user.saw('conversationinfoupdated');
    assert.deepEqual(attributes, changes);
    assert.equal(updatedBy, ann.id);
    assert.equal(told.id, conversation.id);
    assert.equal(told.name, 'new');
    assert.deepEqual(told.get('attr'), { level: 2, kept: true });
  }
  assert.deepEqual((await heard).attributes, changes);
  await ann.settled();
  ann.sawNo('conversationinfoupdated');

  step('what is stored');
  const stored = await cat.conversation(conversation.id);
  assert.equal(stored.name, 'new');
  assert.deepEqual(stored.get('attr'), { level: 2, kept: true });
  assert.equal(stored.get('colour'), 'blue');
  assert.equal(stored.updatedAt.getTime(), conversation.updatedAt.getTime());

  step('saving without a change sends nothing');
  await conversation.save();

  step('another member changes it');
  bobs.set('attr', { level: 10 });
  await bobs.save();
  const [{ updatedBy }, told] = await ann.saw('conversationinfoupdated');
  assert.equal(updatedBy, bob.id);
  assert.deepEqual(told.get('attr'), { level: 10 });

  step('operations on values');
  conversation.set('colour', { __op: 'Delete' });
  conversation.set('n', { __op: 'Increment', amount: 5 });
  conversation.set('tags', { __op: 'AddUnique', objects: ['x', 'y', 'x'] });
  await conversation.save();
  await conversation.fetch();
  const changed = await cat.client.getConversation(conversation.id, true);
  for (const copy of [conversation, changed]) {
    assert.equal(copy.get('colour'), undefined);
    assert.equal(copy.get('n'), 6);
    assert.deepEqual(copy.get('tags'), ['x', 'y']);
  }

  step('a client that is not a member');
  stored.set('colour', 'black');
  await refused(stored.save(), 4309, 'CONVERSATION_UPDATE_REJECTED');

  step('a conversation that does not exist');
  const ghost = await ann.client.parseConversation({ id: 'f'.repeat(24), members: [] });
  ghost.set('colour', 'white');
  await refused(ghost.save(), 4303, 'CONVERSATION_NOT_FOUND');
});
