/** Every operator and option of ConversationQuery. */
'use strict';

const { randomUUID } = require('node:crypto');
const { assert, bytes, bytesOf, config, converse, idOf, open, sameSet, scenario, step } = require('../harness');

scenario(async () => {
  const [ann, bob] = [await open('ann'), await open('bob')];
  const [bobId, catId, danId] = ['bob', 'cat', 'dan'].map(idOf);
  const tag = randomUUID();
  const due = new Date('2030-01-02T03:04:05.678Z');
  const made = [
    [[bobId], { n: 1, parity: 1, title: 'Alpha.one', colours: ['red'] }],
    [[bobId, catId], { n: 2, parity: 0, title: 'alpha two', colours: ['red', 'green'], due }],
    [[catId], { n: 3, parity: 1, title: 'Beta (three) \\E', colours: [], note: 'x' }],
    [[bobId, catId, danId], { n: 4, parity: 0, title: 'gamma\nALPHA', colours: ['blue', 'green', 'red'] }],
  ];
  made[3][1].attr = { level: 9 };
  const conversations = [];
  for (const [members, columns] of made) conversations.push(await converse(ann, members, { tag, ...columns }));

  const query = (user = ann) => user.client.getQuery().equalTo('tag', tag);
  const numbers = async (asked) => (await asked.find()).map((found) => found.get('n'));
  /** What `refine` makes of a query for the four, in ascending order. */
  const finds = async (expected, refine, user) => {
    step(String(refine));
    assert.deepEqual(await numbers(refine(query(user)).ascending('n')), expected);
  };
  const hour = 3_600_000;

  await finds([1, 2, 3, 4], (q) => q);
  await finds([2], (q) => q.equalTo('n', 2));
  await finds([2], (q) => q.equalTo('title', 'alpha two'));
  await finds([], (q) => q.equalTo('title', 'alpha'));
  await finds([], (q) => q.equalTo('n', '2'));
  await finds([4], (q) => q.equalTo('attr.level', 9));
  await finds([1, 2, 3, 4], (q) => q.equalTo('c', ann.id));
  await finds([], (q) => q.equalTo('c', bob.id));
  await finds([2], (q) => q.equalTo('due', due));
  await finds([1, 3, 4], (q) => q.notEqualTo('n', 2));
  await finds([1, 2, 4], (q) => q.notEqualTo('note', 'x'));
  await finds([1, 2], (q) => q.lessThan('n', 3));
  await finds([1, 2, 3], (q) => q.lessThanOrEqualTo('n', 3));
  await finds([4], (q) => q.greaterThan('n', 3));
  await finds([3, 4], (q) => q.greaterThanOrEqualTo('n', 3));
  await finds([2, 3], (q) => q.greaterThan('n', 1).lessThan('n', 4));
  await finds([2], (q) => q.greaterThan('due', new Date(due.getTime() - 1)));
  await finds([], (q) => q.greaterThan('due', due));
  await finds([1, 2, 3, 4], (q) => q.greaterThan('createdAt', new Date(Date.now() - hour)));
  await finds([], (q) => q.lessThan('createdAt', new Date(Date.now() - hour)));
  await finds([3], (q) => q.exists('note'));
  await finds([1, 2, 4], (q) => q.doesNotExist('note'));
  await finds([1, 4], (q) => q.containedIn('n', [4, 1, 9]));
  await finds([2, 3], (q) => q.notContainsIn('n', [4, 1, 9]));
  await finds([2, 4], (q) => q.containsAll('colours', ['green', 'red']));
  await finds([3], (q) => q.sizeEqualTo('colours', 0));
  await finds([4], (q) => q.sizeEqualTo('colours', 3));
  await finds([1], (q) => q.contains('title', 'pha.o'));
  await finds([], (q) => q.contains('title', 'pha.t'));
  await finds([3], (q) => q.contains('title', '(three)'));
  await finds([3], (q) => q.contains('title', '\\E'));
  await finds([2], (q) => q.startsWith('title', 'alpha'));
  await finds([1], (q) => q.endsWith('title', '.one'));
  await finds([3], (q) => q.matches('title', /^Beta \(t.{4}\)/));
  await finds([1, 2], (q) => q.matches('title', /^alpha/i));
  await finds([1, 2, 4], (q) => q.matches('title', /^alpha/im));
  await finds([1, 2, 4], (q) => q.containsMembers([bobId]));
  await finds([2, 4], (q) => q.containsMembers([bobId, catId]));
  await finds([1], (q) => q.withMembers([bobId], true));
  await finds([2], (q) => q.withMembers([catId, bobId, ann.id]));
  await finds([], (q) => q.withMembers([bobId, catId]));
  await finds([3], (q) => q.skip(2).limit(1));
  await finds([], (q) => q.limit(0));
  await finds([], (q) => q.skip(4));
  await finds([1, 2, 3, 4], (q) => q, bob);

  step('order');
  assert.deepEqual(await numbers(query().descending('n').limit(2)), [4, 3]);
  assert.deepEqual(await numbers(query().ascending('parity').addDescending('n')), [4, 2, 3, 1]);
  assert.deepEqual(await numbers(query().descending('parity').addAscending('n')), [1, 3, 2, 4]);

  if (config.major === 5) {
    step('and, or, first: version 5 has them');
    const { ConversationQuery } = ann.sdk;
    const either = ConversationQuery.or(query().equalTo('n', 1), query().equalTo('n', 3), query().greaterThan('n', 3));
    assert.deepEqual(await numbers(either.ascending('n')), [1, 3, 4]);
    const both = ConversationQuery.and(query(), ann.client.getQuery().lessThan('n', 3));
    assert.deepEqual(await numbers(both.descending('n')), [2, 1]);
    assert.equal((await query().descending('n').first()).get('n'), 4);
    assert.equal(await query().equalTo('n', 5).first(), undefined);
  }

  step('no condition: the conversations of the one who asks, ten at a time');
  const eve = await open('eve');
  const hers = [];
  for (let n = 0; n < 12; n += 1) hers.push((await converse(eve, [bob])).id);
  assert.equal((await eve.client.getQuery().find()).length, 10);
  sameSet((await eve.client.getQuery().limit(1000).find()).map(({ id }) => id), hers);

  step('compact: without members');
  const [full] = await query(await open('ann')).equalTo('n', 2).find();
  sameSet(full.members, [ann.id, bobId, catId]);
  const [compact] = await query(await open('ann')).equalTo('n', 2).compact().find();
  assert.deepEqual(compact.members, []);
  assert.equal(compact.get('title'), 'alpha two');

  step('with the last message, and without');
  const words = await conversations[0].send(ann.text('last words').setMentionList([bobId]));
  const sendBytes = () => conversations[1].send(new ann.sdk.BinaryMessage(bytes(0, 255, 10)));
  let raw = await sendBytes();
  while (raw.timestamp <= words.timestamp) raw = await sendBytes(); // time strictly increases in one conversation only
  const fresh = await open('ann');
  const plain = await query(fresh).ascending('n').find();
  assert.deepEqual(plain.map(({ lastMessage }) => lastMessage), [undefined, undefined, undefined, undefined]);
  assert.equal(plain[0].lastMessageAt.getTime(), words.timestamp.getTime());
  const told = await query(await open('ann')).ascending('n').withLastMessagesRefreshed().find();
  assert.equal(told[0].lastMessage.text, 'last words');
  assert.equal(told[0].lastMessage.id, words.id);
  assert.equal(told[0].lastMessage.from, ann.id);
  assert.equal(told[0].lastMessage.timestamp.getTime(), words.timestamp.getTime());
  assert.deepEqual(bytesOf(told[1].lastMessage), [0, 255, 10]);
  assert.equal(told[1].lastMessage.id, raw.id);
  assert.equal(told[2].lastMessage, undefined);
  const both = await query(await open('ann')).equalTo('n', 2).compact().withLastMessagesRefreshed().find();
  assert.deepEqual(both[0].members, []);
  assert.equal(both[0].lastMessage.id, raw.id);

  step('by the time of the last message');
  assert.deepEqual(await numbers(query().exists('lm').ascending('n')), [1, 2]);
  assert.deepEqual(await numbers(query().greaterThan('lm', words.timestamp)), [2]);
  assert.deepEqual(await numbers(query().exists('lm').descending('lm')), [2, 1]);

  step('a condition that makes no sense');
  await assert.rejects(query()._addCondition('n', '$near', 1).find(), ({ code }) => code === 4310 || code === 4301);
  assert.deepEqual(await numbers(query().ascending('n')), [1, 2, 3, 4]);
});
