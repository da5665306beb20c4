/**
 * A device in a chat room stops taking what it is sent: when it goes on it gets all messages of high priority and some
 * of the others; too far behind it is closed, comes back by itself, and is sent the rest of them.
 * Rules: 1.10, 5.32, 5.33, 5.34
 */
'use strict';

const { assert, open, openCuttable, scenario, step, turn, within } = require('../harness');

const LONG = 'x'.repeat(4_500);
const AT_ONCE = 10;

/** Sends a message of each of these priorities, not faster than `listeners` hear them, and gives their texts. */
async function send(user, room, name, priorities, listeners = []) {
  const texts = priorities.map((priority, number) => `${name} ${number} ${priority}`);
  const long = (text) => user.text(text).setAttributes({ LONG });
  for (let at = 0; at < texts.length; at += AT_ONCE) {
    const some = texts.slice(at, at + AT_ONCE);
    await Promise.all(some.map((text, n) => room.send(long(text), { priority: priorities[at + n] })));
    for (const listener of listeners) await heard(listener, some);
  }
  return texts;
}

const textsOf = (user) => user.events.filter(({ event }) => event === 'message').map(({ payload }) => payload[0].text);

/** Waits until `user` has all of `texts`, and gives what it got in all. */
async function heard(user, texts) {
  const all = () => {
    const got = new Set(textsOf(user));
    return texts.every((text) => got.has(text));
  };
  const waiting = (async () => {
    while (!all()) await turn();
  })();
  await within(waiting, () => `${user.id} got ${textsOf(user).length} messages, and not all of ${texts.length}`);
  return textsOf(user);
}

/** Checks that `part` are some of `whole`, in their order and none twice. */
function inOrder(part, whole) {
  const places = part.map((text) => whole.indexOf(text));
  assert.ok(places.every((place, at) => place >= 0 && (at === 0 || place > places[at - 1])), 'in order');
}

scenario(async () => {
  const users = [await open('ann'), await open('bob'), await open('cat'), await openCuttable('dan')];
  const [ann, bob, cat, dan] = users;
  const { HIGH, NORMAL, LOW } = ann.sdk.MessagePriority;
  const room = await ann.client.createChatRoom({ name: 'stadium' });
  for (const user of [bob, cat, dan]) await (await user.conversation(room.id)).join();
  const socketOf = (user) => user.client._connection._ws._socket;
  const mixed = Array.from({ length: 240 }, (_, number) => (number % 12 === 0 ? HIGH : number % 3 ? LOW : NORMAL));

  step('it stops reading, and the others hear everything');
  socketOf(bob).pause();
  const sent = await send(ann, room, 'first', mixed, [cat, dan]);
  for (const user of [cat, dan]) assert.deepEqual(await heard(user, sent), sent);

  step('it goes on, and gets what is of high priority and some of the rest');
  const urgent = sent.filter((_, number) => mixed[number] === HIGH);
  socketOf(bob).resume();
  const [last] = await send(ann, room, 'last', [HIGH]);
  const got = await heard(bob, [...urgent, last]);
  inOrder(got, [...sent, last]);
  assert.ok(got.length < sent.length, `${got.length} of ${sent.length}`);
  bob.sawNo('disconnect');

  step('it hears everything again, and history has what it did not get');
  for (const user of users) user.forget();
  const again = await send(ann, room, 'again', [LOW, NORMAL, HIGH]);
  assert.deepEqual(await heard(bob, again), again);
  const history = await (await bob.conversation(room.id)).queryMessages({ limit: 300 });
  assert.deepEqual(history.map(({ text }) => text), [...sent, last, ...again]);

  step('too far behind: closed, and back by itself');
  const eve = await open('eve');
  await (await eve.conversation(room.id)).join();
  socketOf(eve).pause();
  const much = await send(cat, await cat.conversation(room.id), 'much', Array(240).fill(HIGH));
  socketOf(eve).resume();
  await eve.saw('disconnect');
  await eve.saw('reconnect');
  const all = await heard(eve, much);
  assert.deepEqual([...new Set(all)], much);
  assert.ok(all.length <= much.length + 1, 'the one that was cut may come twice');
  assert.equal(await room.count(), 5);

  step('a connection is lost: what is of high priority was not');
  for (const user of users) user.forget();
  await dan.goAway(ann);
  const away = await send(ann, room, 'away', [HIGH, LOW, NORMAL, HIGH]);
  await dan.comeBack();
  const back = await send(ann, room, 'back', [LOW]);
  assert.deepEqual(await heard(dan, back), [away[0], away[3], ...back]);
  await dan.loseConnection();
  await dan.saw('reconnect');
  const live = await send(ann, room, 'live', [NORMAL]);
  assert.deepEqual(await heard(dan, live), [away[0], away[3], ...back, ...live]);
  assert.equal(await room.count(), 5);
});
