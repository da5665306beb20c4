/**
 * What was recalled and modified while a device was away is told to it when it comes back, once, and in order.
 * Rules: 8.5
 */
'use strict';

const { assert, converse, open, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await open('ann'), await open('bob')];
  const [chat, other] = [await converse(ann, [bob]), await converse(ann, [bob])];
  for (const { id } of [chat, other]) await bob.conversation(id);
  const sent = [];
  for (const text of ['m0', 'm1', 'm2']) sent.push(await chat.send(ann.text(text)));
  const aside = await other.send(ann.text('aside'));
  for (const text of ['m0', 'm1', 'm2', 'aside']) await bob.got(text);
  const bodyOf = (message) => (message.type === -127 ? 'recalled' : message.text);
  const changes = () => bob.events.filter(({ event }) => event === 'messagerecall' || event === 'messageupdate');

  step('a change while it is here');
  const changed = await chat.update(sent[0], ann.text('m0 once'));
  await bob.saw('messageupdate');

  step('changes while it is away');
  await bob.goAway(ann);
  await chat.update(changed, ann.text('m0 twice'));
  await chat.recall(sent[2]);
  await other.update(aside, ann.text('aside, changed'));
  await chat.update(sent[1], ann.text('m1 once'));
  await chat.update(sent[1], ann.text('m1 twice'));
  const live = await chat.send(ann.text('m3'));
  bob.forget();
  await bob.comeBack();
  const [last] = await bob.saw('messageupdate', ({ id }) => id === sent[1].id);
  assert.equal(last.text, 'm1 twice');
  const heard = changes().map(({ event, payload: [message, where] }) => [event, message.id, bodyOf(message), where.id]);
  assert.deepEqual(heard, [
    ['messageupdate', sent[0].id, 'm0 twice', chat.id],
    ['messagerecall', sent[2].id, 'recalled', chat.id],
    ['messageupdate', aside.id, 'aside, changed', other.id],
  ]);
  assert.equal((await bob.conversation(chat.id)).lastMessage.id, live.id);

  step('it has heard of them now');
  bob.forget();
  await bob.goAway(ann);
  await bob.comeBack();
  await bob.settled();
  assert.deepEqual(changes(), []);

  step('a new device begins with what is stored');
  const phone = await open('bob');
  await phone.settled();
  phone.sawNo('messageupdate');
  phone.sawNo('messagerecall');
  const history = await (await phone.conversation(chat.id)).queryMessages();
  assert.deepEqual(history.map(bodyOf), ['m0 twice', 'm1 twice', 'recalled', 'm3']);
});
