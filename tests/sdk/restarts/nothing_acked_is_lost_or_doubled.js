/**
 * The server goes down in the middle of a stream of messages; the app sends again what was not acked.
 * Rules: 5.1, 5.4
 */
'use strict';

const { ask, assert, config, converse, open, scenario, step } = require('../harness');

const IN_FLIGHT = 8;
const MESSAGES_MAX = 2_000; // more than it takes; the server has no send limit here

scenario(async () => {
  const [ann, tablet, bob] = [await open('ann'), await open('ann'), await open('bob')];
  const conversation = await converse(ann, [bob]);
  for (const user of [tablet, bob]) await user.conversation(conversation.id);
  const messages = [];
  const say = (text) => {
    const message = ann.text(text);
    messages.push(message);
    return conversation.send(message);
  };

  step('before');
  for (let n = 0; n < 5; n += 1) await say(`before ${n}`);

  step('a stream of messages while the server goes down');
  const acked = new Map(messages.map((message) => [message, message.id]));
  const inFlight = new Set();
  let up = true;
  const down = new Promise((resolve) => ann.client.once('disconnect', resolve)).then(() => { up = false; });
  let stopped;
  for (let n = 0; up && n < MESSAGES_MAX; n += 1) {
    const sending = say(`stream ${n}`).then(({ id }) => acked.set(messages[n + 5], id), () => { up = false; });
    inFlight.add(sending);
    sending.then(() => inFlight.delete(sending));
    if (inFlight.size >= IN_FLIGHT) await Promise.race([down, ...inFlight]);
    if (n === 20) stopped = ask(config.how);
  }
  await stopped;
  assert.ok(!up, 'the stream was cut short');
  await Promise.all([ann, tablet, bob].map((user) => user.back()));

  step('what was not acked is sent again');
  const unsure = messages.filter((message) => !acked.has(message));
  for (const message of unsure) acked.set(message, (await conversation.send(message)).id);

  step('after');
  for (let n = 0; n < 5; n += 1) await say(`after ${n}`).then(({ id }) => acked.set(messages.at(-1), id));
  await bob.saw('message', ({ text }) => text === 'after 4');
  await tablet.saw('message', ({ text }) => text === 'after 4');

  step('history: everything once, in order, under the id that was acked');
  const newest = await open('bob');
  const [[unread]] = await newest.saw('unreadmessagescountupdate');
  assert.equal(unread.unreadMessagesCount, messages.length);
  const history = [];
  const pages = (await newest.conversation(conversation.id)).createMessagesIterator({ limit: 100 });
  for (let page = await pages.next(); page.value.length > 0; page = await pages.next()) history.unshift(...page.value);
  assert.deepEqual(history.map(({ text }) => text), messages.map(({ text }) => text));
  assert.deepEqual(history.map(({ id }) => id), messages.map((message) => acked.get(message)));

  step('live: nothing twice, nothing out of order');
  for (const user of [bob, tablet]) {
    const live = user.events.filter(({ event }) => event === 'message').map(({ payload: [{ id }] }) => id);
    assert.deepEqual([...new Set(live)].sort(), live);
  }
  ann.sawNo('message');
  return { acked: messages.length - unsure.length, resent: unsure.length };
});
