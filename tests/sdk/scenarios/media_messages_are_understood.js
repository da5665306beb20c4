/**
 * The built-in types: those of leancloud-realtime, and images, sounds, films, files and places of its plugin.
 *
 * Files are stored elsewhere, so a message brings a file's address; what it needs of the storage SDK is in here.
 */
'use strict';

const initPlugin = require('leancloud-realtime-plugin-typed-messages');
const { Device, assert, bytes, bytesOf, config, converse, idOf, scenario, step } = require('../harness');

/** A file that was saved, as far as the plugin looks into it. */
class File {
  static createWithoutData(id) {
    return Object.assign(new File(), { id });
  }

  static saved(name, url, metaData) {
    return Object.assign(new File(), { id: `id of ${name}`, _name: name, _url: url, _metaData: metaData });
  }

  name() {
    return this._name;
  }

  url() {
    return this._url;
  }

  metaData() {
    return this._metaData;
  }
}

class GeoPoint {
  constructor({ latitude, longitude }) {
    Object.assign(this, { latitude, longitude });
  }
}

const openApp = async (name, options) => {
  const device = new Device(options);
  device.media = initPlugin({ File, GeoPoint }, device.sdk);
  device.realtime.register(device.media.TypedMessagesPlugin.messageClasses);
  return device.open(idOf(name));
};

const files = [
  ['ImageMessage', -2, File.saved('猫.jpg', 'https://example.com/猫.jpg', { width: 640, height: 480 })],
  ['AudioMessage', -3, File.saved('meow.mp3', 'https://example.com/meow.mp3', { duration: 3.5, size: 12_345 })],
  ['VideoMessage', -4, File.saved('chase.mp4', 'https://example.com/chase.mp4', { duration: 61, size: 2 ** 40 })],
  ['FileMessage', -6, File.saved('plan.pdf', 'https://example.com/plan.pdf?a=1&b="2"', {})],
];

scenario(async () => {
  const ann = await openApp('ann');
  const bob = await openApp('bob');
  const other = await openApp('bob', { major: config.major === 5 ? 4 : 5, noBinary: config.mode === 'binary' });
  const conversation = await converse(ann, [bob, idOf('cat')]);
  const send = async (message) => {
    const sent = await conversation.send(message);
    const heard = [];
    for (const user of [bob, other]) {
      const [got] = await user.saw('message');
      assert.equal(got.id, sent.id);
      heard.push([user, got]);
    }
    return heard;
  };
  const isFile = (got, file) => {
    assert.equal(got.getFile().url(), file.url());
    assert.equal(got.getFile().name(), file.name());
    assert.deepEqual(got.getFile().metaData(), { ...file.metaData(), name: file.name() });
  };

  for (const [kind, type, file] of files) {
    step(kind);
    const message = new ann.device.media[kind](file);
    message.setText(`a ${kind}`).setAttributes({ made: 'today' });
    for (const [user, got] of await send(message)) {
      assert.ok(got instanceof user.device.media[kind]);
      assert.equal(got.type, type);
      assert.equal(got.text, `a ${kind}`);
      assert.deepEqual(got.attributes, { made: 'today' });
      isFile(got, file);
    }
  }

  step('a place');
  const place = new ann.device.media.LocationMessage(new GeoPoint({ latitude: 31.3753285, longitude: -120.9664658 }));
  for (const [user, got] of await send(place.setText('here'))) {
    assert.ok(got instanceof user.device.media.LocationMessage);
    assert.deepEqual({ ...got.getLocation() }, { latitude: 31.3753285, longitude: -120.9664658 });
  }

  step('text, and bytes');
  for (const [user, got] of await send(ann.text('text'))) assert.ok(got instanceof user.sdk.TextMessage);
  for (const [, got] of await send(new ann.sdk.BinaryMessage(bytes(0, 1, 254, 255)))) {
    assert.deepEqual(bytesOf(got), [0, 1, 254, 255]);
  }

  step('history, all of it and by type');
  const cat = await openApp('cat');
  const cats = await cat.conversation(conversation.id);
  const history = await cats.queryMessages();
  assert.deepEqual(history.map(({ type }) => type), [-2, -3, -4, -6, -5, -1, undefined]);
  files.forEach(([, , file], n) => isFile(history[n], file));
  assert.deepEqual(bytesOf(history[6]), [0, 1, 254, 255]);
  for (const type of [-1, -2, -3, -4, -5, -6]) {
    assert.deepEqual((await cats.queryMessages({ type })).map((message) => message.type), [type]);
  }
});
