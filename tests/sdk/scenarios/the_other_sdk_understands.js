/** Both versions in one conversation, one of them in binary mode and the other in base64. */
'use strict';

const { assert, bytes, bytesOf, config, converse, open, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const ann = await open('ann');
  const bob = await open('bob', { major: config.major === 5 ? 4 : 5, noBinary: config.mode === 'binary' });
  const conversation = await converse(ann, [bob], { name: 'old and new' });
  const [, bobs] = await bob.saw('invited');
  assert.equal(bobs.name, 'old and new');

  step('messages both ways');
  const sent = await conversation.send(ann.text('hello 你好').setMentionList([bob.id]));
  const got = await bob.got('hello 你好');
  assert.equal(got.id, sent.id);
  assert.equal(got.mentioned, true);
  await bobs.send(new bob.sdk.BinaryMessage(bytes(0, 127, 128, 255)));
  const [binary] = await ann.saw('message');
  assert.deepEqual(bytesOf(binary), [0, 127, 128, 255]);

  step('events both ways');
  bobs.set('colour', 'green');
  await bobs.save();
  await ann.saw('conversationinfoupdated', ({ attributes }) => attributes.colour === 'green');
  await conversation.remove([bob.id]);
  await bob.saw('kicked');
  await bobs.join();
  await ann.saw('membersjoined', ({ members }) => members.length === 1 && members[0] === bob.id);
  sameSet(conversation.members, [ann.id, bob.id]);

  step('one client with a device of each');
  const tablet = await open('bob');
  await conversation.send(ann.text('to both'));
  for (const user of [bob, tablet]) await user.got('to both');
  await bobs.send(bob.text('from the other device'));
  for (const user of [ann, tablet]) await user.got('from the other device');
});
