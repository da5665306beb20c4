/**
 * queryMessages with every option, in both directions, and the iterator.
 * Rules: 2.4a
 */
'use strict';

const { assert, converse, idOf, open, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await open('ann'), await open('bob')];
  const { MessageQueryDirection, Message, TextMessage } = ann.sdk;
  const conversation = await converse(ann, [bob, idOf('cat')]);

  step('nothing yet');
  assert.deepEqual(await conversation.queryMessages(), []);

  step('25 messages');
  const sent = [];
  for (let n = 0; n < 25; n += 1) {
    sent.push(await conversation.send(n % 5 === 0 ? new Message(`raw ${n}`) : ann.text(`text ${n}`)));
  }
  const history = await (await open('cat')).conversation(conversation.id);
  const names = sent.map((message) => message.text ?? message.content);
  const at = (n) => ({ time: sent[n].timestamp, id: sent[n].id });
  const expect = async (options, from, to) => {
    const found = (await history.queryMessages(options)).map((message) => message.text ?? message.content);
    assert.deepEqual(found, names.slice(from, to));
  };
  const forwards = MessageQueryDirection.OLD_TO_NEW;
  const backwards = MessageQueryDirection.NEW_TO_OLD;

  step('the newest, oldest first');
  await expect({}, 5, 25);
  await expect({ limit: 5 }, 20, 25);
  await expect({ limit: 100 }, 0, 25);
  await expect({ limit: 1000 }, 0, 25);
  await expect({ limit: 1 }, 24, 25);
  await expect({ limit: 0 }, 0, 0);

  step('as they were sent');
  const [newest] = await history.queryMessages({ limit: 1 });
  assert.equal(newest.id, sent[24].id);
  assert.equal(newest.from, ann.id);
  assert.equal(newest.cid, conversation.id);
  assert.equal(newest.timestamp.getTime(), sent[24].timestamp.getTime());

  step('backwards from a message, without it and with it');
  await expect({ startTime: at(10).time, startMessageId: at(10).id }, 0, 10);
  await expect({ startTime: at(10).time, startMessageId: at(10).id, startClosed: true }, 0, 11);
  await expect({ startTime: at(10).time, startMessageId: at(10).id, limit: 3 }, 7, 10);
  await expect({ startTime: at(10).time, limit: 3 }, 7, 10);
  await expect({ startTime: at(0).time, startMessageId: at(0).id }, 0, 0);

  step('backwards down to a message, without it and with it');
  await expect({ endTime: at(20).time, endMessageId: at(20).id }, 21, 25);
  await expect({ endTime: at(20).time, endMessageId: at(20).id, endClosed: true }, 20, 25);
  const window = { startTime: at(20).time, startMessageId: at(20).id, endTime: at(10).time, endMessageId: at(10).id };
  await expect(window, 11, 20);
  await expect({ ...window, startClosed: true, endClosed: true }, 10, 21);
  await expect({ ...window, limit: 4 }, 16, 20);
  await expect({ ...window, direction: backwards, limit: 4 }, 16, 20);

  step('forwards: the oldest first');
  await expect({ direction: forwards, limit: 5 }, 0, 5);
  await expect({ direction: forwards }, 0, 20);
  const after = { startTime: at(10).time, startMessageId: at(10).id, direction: forwards };
  await expect(after, 11, 25);
  await expect({ ...after, startClosed: true, limit: 3 }, 10, 13);
  await expect({ ...after, endTime: at(15).time, endMessageId: at(15).id }, 11, 15);
  await expect({ ...after, endTime: at(15).time, endMessageId: at(15).id, endClosed: true }, 11, 16);

  step('a start before the end means forwards');
  const forth = { startTime: at(10).time, startMessageId: at(10).id, endTime: at(20).time, endMessageId: at(20).id };
  await expect(forth, 11, 20);
  await expect({ ...forth, limit: 3 }, 11, 14);

  step('times alone');
  await expect({ startTime: new Date(sent[0].timestamp.getTime() - 1) }, 0, 0);
  await expect({ endTime: new Date(Date.now() + 3_600_000) }, 0, 0);
  await expect({ startTime: new Date(Date.now() + 3_600_000), limit: 2 }, 23, 25);

  step('of one type');
  const texts = await history.queryMessages({ type: TextMessage.TYPE, limit: 100 });
  assert.deepEqual(texts.map(({ text }) => text), names.filter((name) => name.startsWith('text')));
  const few = await history.queryMessages({ type: TextMessage.TYPE, limit: 3 });
  assert.deepEqual(few.map(({ text }) => text), ['text 22', 'text 23', 'text 24']);
  const early = await history.queryMessages({ type: TextMessage.TYPE, limit: 5, direction: forwards });
  assert.deepEqual(early.map(({ text }) => text), ['text 1', 'text 2', 'text 3', 'text 4', 'text 6']);
  assert.deepEqual(await history.queryMessages({ type: 42 }), []);

  step('the iterator goes back page by page');
  const pages = [];
  const iterator = history.createMessagesIterator({ limit: 10 });
  for (let page = await iterator.next(); ; page = await iterator.next()) {
    pages.push(page.value.map((message) => message.text ?? message.content));
    if (page.done) break;
  }
  assert.deepEqual(pages, [names.slice(15, 25), names.slice(5, 15), names.slice(0, 5)]);
  const before = history.createMessagesIterator({ limit: 2, beforeTime: at(3).time, beforeMessageId: at(3).id });
  assert.equal((await before.next()).value[1].id, sent[2].id);
  assert.equal((await before.next()).value[0].id, sent[0].id);
  assert.deepEqual(await before.next(), { value: [], done: true });
});
