/**
 * Words of the server's list (examples/words.txt): where they are masked, what the sender is told, and what history has.
 * Rules: 8.6, 9.1, 9.2, 9.3, 9.4, 9.5
 */
'use strict';

const { assert, bytes, bytesOf, converse, open, rest, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, tablet, bob, cat] = [await open('ann'), await open('ann'), await open('bob'), await open('cat')];
  const group = await converse(ann, [bob, cat]);
  const { Message, TextMessage } = ann.sdk;
  const textOf = (message) => message.text ?? message.content;
  /** What every device of the sender's is told of a message of its own. */
  const corrected = async (sent, conversation, left, ...devices) => {
    for (const user of devices) {
      const [message, where, reason] = await user.saw('messageupdate', ({ id }) => id === sent.id);
      assert.equal(textOf(message), left);
      assert.equal(message.from, ann.id);
      assert.equal(message.timestamp.getTime(), sent.timestamp.getTime());
      assert.equal(where.id, conversation.id);
      assert.equal(reason.code, -4408);
      assert.equal(typeof reason.detail, 'string');
      assert.ok(reason.detail);
    }
  };
  const quiet = async (...users) => {
    for (const user of users) {
      await user.settled();
      user.sawNo('message');
      user.sawNo('messageupdate');
    }
  };

  step('in a group');
  const sent = await group.send(ann.text('Durian, 榴蓮 or ｔｕｒｎｉｐ?'));
  for (const user of [bob, cat]) {
    const got = await user.got('***, *** or ***?');
    assert.equal(got.id, sent.id);
    assert.ok(got instanceof user.sdk.TextMessage);
  }
  await corrected(sent, group, '***, *** or ***?', ann);
  assert.equal(group.lastMessage.text, '***, *** or ***?');

  step('what has no such word is left alone');
  await group.send(ann.text('Bread, please.'));
  for (const user of [tablet, bob, cat]) await user.saw('message', ({ text }) => text === 'Bread, please.');
  tablet.forget();
  await quiet(ann, bob, cat);

  step('of a typed message only its text, of any other all');
  const typed = await group.send(new TextMessage('a durian').setAttributes({ fruit: 'durian' }));
  const [attributed] = await bob.saw('message', ({ id }) => id === typed.id);
  assert.equal(attributed.text, 'a ***');
  assert.deepEqual(attributed.attributes, { fruit: 'durian' });
  await corrected(typed, group, 'a ***', ann);
  const plain = await group.send(new Message('{"fruit": "durian"}'));
  const [untyped] = await bob.saw('message', ({ id }) => id === plain.id);
  assert.equal(JSON.stringify(untyped.content).includes('durian'), false);
  assert.equal(JSON.stringify(untyped.content).includes('***'), true);
  await ann.saw('messageupdate', ({ id }, _, reason) => id === plain.id && reason.code === -4408);
  const letters = [...Buffer.from('durian')];
  const raw = await group.send(new ann.sdk.BinaryMessage(bytes(...letters)));
  const [binary] = await bob.saw('message', ({ id }) => id === raw.id);
  assert.deepEqual(bytesOf(binary), letters);
  for (const user of [tablet, bob, cat]) {
    await user.settled();
    user.forget();
  }
  await quiet(ann);

  step('when a message is modified');
  const second = await group.send(ann.text('tea?'));
  await group.update(second, ann.text('kumquats?'));
  for (const user of [tablet, bob, cat]) {
    const [message, , reason] = await user.saw('messageupdate', ({ id }) => id === second.id);
    assert.equal(message.text, '***s?');
    if (user !== tablet) assert.equal(reason, undefined);
  }
  await corrected(second, group, '***s?', ann);

  step('what is in history');
  for (const user of [ann, bob, await open('cat')]) {
    const history = await (await user.conversation(group.id)).queryMessages();
    const texts = history.map((message) => message.text ?? null);
    assert.deepEqual(texts, ['***, *** or ***?', 'Bread, please.', 'a ***', null, null, '***s?']);
    assert.deepEqual(bytesOf(history[4]), letters);
  }

  step('in a chat room');
  const room = await ann.client.createChatRoom({ name: `fruit ${ann.id}` });
  const bobs = await bob.conversation(room.id);
  await bobs.join();
  bob.forget();
  const said = await room.send(ann.text('turnip'));
  assert.equal((await bob.got('***')).id, said.id);
  await corrected(said, room, '***', ann);

  step('not between two');
  const pair = await converse(ann, [bob]);
  await pair.send(ann.text('durian'));
  await bob.got('durian');
  await ann.settled();
  ann.sawNo('messageupdate');

  step('of the server itself, and tried out over REST');
  const tried = await rest('POST', 'words/test', { text: 'a du*ri*an' });
  assert.equal(tried.masked, 'a ***');
  assert.deepEqual(tried.hits, [{ start: 2, end: 10, word: 'durian', line: 5 }]);
});
