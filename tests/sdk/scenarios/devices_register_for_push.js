/**
 * The storage SDK, and what it has for React Native, register a device with the key that every client knows.
 * Rules: 10.8
 */
'use strict';

const AV = require('leancloud-storage');
const { assert, config, idOf, scenario, step } = require('../harness');

AV.init({ appId: config.appId, appKey: config.appKey, serverURL: `http://${config.address}` });
const installations = require('leancloud-installation')(AV);
const TABLE = '_Installation';

const codeOf = (promise) =>
  promise.then(
    () => assert.fail('it was not refused'),
    ({ code }) => code
  );

scenario(async () => {
  const token = idOf('token');

  step('a device registers and changes itself');
  const own = await installations.getCurrent();
  await own.save({ deviceType: 'ios', deviceToken: token, apnsTopic: 'com.example' });
  assert.ok(own.id);
  own.addUnique('channels', idOf('ann'));
  own.increment('badge', 2);
  await own.save();

  step('it finds what it has saved');
  const found = await new AV.Query(TABLE).equalTo('deviceToken', token).first();
  assert.equal(found.id, own.id);
  assert.deepEqual([found.get('channels'), found.get('badge')], [[idOf('ann')], 2]);
  assert.deepEqual([found.createdAt, found.get('apnsTopic')], [own.createdAt, 'com.example']);

  step('it registers again');
  const again = new AV.Object(TABLE);
  await again.save({ deviceType: 'ios', deviceToken: token });
  await again.fetch();
  assert.deepEqual([again.id, again.get('channels')], [own.id, [idOf('ann')]]);

  step('several rows are saved and fetched at once');
  const other = new AV.Object(TABLE).set('deviceType', 'ios').set('deviceToken', idOf('other'));
  again.remove('channels', idOf('ann'));
  again.unset('badge');
  await AV.Object.saveAll([again, other], { fetchWhenSave: true });
  assert.notEqual(other.id, own.id);
  assert.deepEqual([again.get('valid'), other.get('valid')], [true, true]);
  const copy = AV.Object.createWithoutData(TABLE, own.id);
  await AV.Object.fetchAll([copy]);
  assert.deepEqual([copy.get('channels'), copy.get('badge')], [[], undefined]);

  step('what is no installation, or is not its own, is refused');
  assert.equal(await codeOf(new AV.Object(TABLE).save({ deviceType: 'ios' })), 135);
  assert.equal(await codeOf(again.set('seats', 'x'.repeat(20000)).save()), 116);
  assert.equal(await codeOf(new AV.Query(TABLE).find()), 403);
  assert.equal(await codeOf(other.destroy()), 401);
  await other.fetch();
});
