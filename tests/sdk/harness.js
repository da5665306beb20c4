/**
 * What every scenario leans on: devices with an SDK of their own, a record of what each client was told, deadlines, and
 * questions to the test that started this process. The SDKs are used as npm delivers them.
 */
'use strict';

const assert = require('node:assert/strict');
const { createHmac, randomUUID } = require('node:crypto');
const readline = require('node:readline');
const { FaultProxy } = require('./fault_proxy');

const config = JSON.parse(process.env.FASTIM_SDK_TEST);
const DEADLINE_MILLIS = 10_000;
const run = randomUUID().slice(0, 8);

/** A client id of this run: scenarios share a server and must not meet each other's clients. */
const idOf = (name) => `${name}-${run}`;

let currentStep = 'start';

/** Names what comes next, for the report of a failure. */
function step(text) {
  currentStep = text;
}

/** Settles as `promise` does, or fails at the deadline with what `describe` says by then. */
function within(promise, describe, millis = DEADLINE_MILLIS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`after ${millis} ms: ${describe()}`)), millis);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Lets everything run that has arrived already. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/**
 * Loads the SDK anew. Version 5 allows one Realtime per application and copy of the library, and two devices of one
 * client are two Realtimes, so each device gets a copy.
 */
function loadSdk(major) {
  const path = require.resolve(`leancloud-realtime-${major}`);
  delete require.cache[path];
  return require(path);
}

/** Where a device connects: both ask /v1/route, but without TLS 4 can reach its server through RTMServers only. */
function addresses(major, address) {
  if (config.secure) return { server: major === 5 ? `https://${address}` : address };
  if (major === 5) return { server: `http://${address}` };
  // With RTMServers alone 4 would look up its REST server on the internet after each reconnect.
  return { RTMServers: `ws://${address}`, server: { RTMRouter: address, api: address } };
}

/** One installation of an app: a copy of the SDK and its Realtime, hence one socket. */
class Device {
  constructor({ major = config.major, address = config.address, appId = config.appId, ...options } = {}) {
    this.sdk = loadSdk(major);
    this.realtime = new this.sdk.Realtime({
      appId,
      appKey: config.appKey,
      noBinary: config.mode === 'base64',
      ...addresses(major, address),
      ...options,
    });
  }

  /** Opens a session; `id` is what the SDK is given, so nothing means that the server makes one up. */
  async open(id, options) {
    return new User(this, await this.realtime.createIMClient(id, options));
  }

  text(text) {
    return new this.sdk.TextMessage(text);
  }

  /** Reconnects at once where the SDK would wait for its next attempt. */
  hurry() {
    const retry = () => {
      try {
        this.realtime.retry();
      } catch {
        // Connected, or an attempt is under way: if that fails, 'schedule' comes again.
      }
    };
    retry();
    const later = () => setImmediate(retry);
    this.realtime.on('schedule', later);
    return () => this.realtime.removeListener('schedule', later);
  }

  /** Drops the socket without closing sessions, as a phone does that goes to sleep. */
  pause() {
    this.realtime.pause();
  }

  resume() {
    this.realtime.resume();
  }
}

/** A client with a record of every event that it was told of. */
class User {
  constructor(device, client) {
    this.device = device;
    this.sdk = device.sdk;
    this.client = client;
    this.events = [];
    this.waiting = new Set();
    for (const event of Object.values(this.sdk.Event)) {
      client.on(event, (...payload) => {
        this.events.push({ event, payload });
        for (const wake of this.waiting) wake();
      });
    }
  }

  get id() {
    return this.client.id;
  }

  text(text) {
    return this.device.text(text);
  }

  /** Takes the first `event` that `matches` out of the record, waiting for it if need be; gives its payload. */
  async saw(event, matches = () => true) {
    let wake;
    const found = new Promise((resolve) => {
      wake = () => {
        const at = this.events.findIndex((record) => record.event === event && matches(...record.payload));
        if (at < 0) return;
        this.waiting.delete(wake);
        resolve(this.events.splice(at, 1)[0].payload);
      };
    });
    this.waiting.add(wake);
    wake();
    try {
      return await within(found, () => `${this.id} saw no such ${event} among ${this.summary()}`);
    } finally {
      this.waiting.delete(wake);
    }
  }

  /** The next message, checked to have `text` (or content, if it is no typed message). */
  async got(text) {
    const [message] = await this.saw('message');
    assert.equal(message.text ?? message.content, text, `next message of ${this.id}`);
    return message;
  }

  /** Fails if `event` is on record. Say what had to come first, so that it would have been here by now. */
  sawNo(event, matches = () => true) {
    const records = this.events.filter((record) => record.event === event && matches(...record.payload));
    assert.equal(records.length, 0, `${this.id} saw ${event} among ${this.summary()}`);
  }

  forget() {
    this.events = [];
  }

  /** Waits until everything that the server sent before now has been handled. */
  async settled() {
    await this.client.ping([this.id]);
    await turn();
  }

  /** Waits until `id` is online, or is not; the server may take a moment to notice. */
  async sees(id, online) {
    for (let attempt = 0; attempt < 200; attempt += 1) {
      if ((await this.client.ping([id])).includes(id) === online) return;
    }
    assert.fail(`${id} is still ${online ? 'offline' : 'online'}`);
  }

  /** Waits for the session to be open again after its connection was lost. */
  async back() {
    const patient = this.device.hurry();
    try {
      await this.saw('reconnect');
    } finally {
      patient();
    }
  }

  /** Loses the connection under this session, for all the server can tell; needs `openCuttable`. */
  async loseConnection() {
    const lost = this.saw('disconnect');
    this.device.proxy.cut();
    await lost;
  }

  /** Goes away without a word until `resume`; `witness`, who stays, says when the server has noticed. */
  async goAway(witness) {
    this.device.pause();
    await witness.sees(this.id, false);
  }

  /** Ends `goAway`. */
  async comeBack() {
    this.device.resume();
    await this.back();
  }

  /** This client's own copy of a conversation. */
  async conversation(id) {
    const conversation = await this.client.getConversation(id);
    assert.ok(conversation, `${this.id} finds conversation ${id}`);
    return conversation;
  }

  summary() {
    const shown = this.events.map(({ event, payload }) => {
      const what = payload.map((value) => {
        if (value instanceof Error) return String(value);
        if (value instanceof this.sdk.Message) return JSON.stringify(value.text ?? value.content);
        if (Array.isArray(value)) return `[${value.map((item) => item.id ?? item)}]`;
        return value?.id ? `(${value.id})` : JSON.stringify(value);
      });
      return `${event} ${what.join(' ')}`;
    });
    return `[${shown.join('; ')}]`;
  }
}

/** Calls the REST API with the master key, as the application's own server does, and gives what it answers. */
async function rest(method, path, body) {
  const response = await fetch(`http://${config.plainAddress}/1.2/rtm/${path}`, {
    method,
    headers: {
      'Content-Type': 'application/json',
      'X-LC-Id': config.appId,
      'X-LC-Key': `${config.masterKey},master`,
    },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.ok, `${method} ${path}: ${response.status} ${text}`);
  return text && JSON.parse(text);
}

/** Ends every session of the client. */
const kick = (id, reason) => rest('POST', `clients/${encodeURIComponent(id)}/kick`, { reason });

/** Factories of signatures, as the application's own server makes them; the SDKs take them as client options. */
function signer(masterKey = config.masterKey) {
  const sign = (...parts) => {
    const [timestamp, nonce] = [Date.now(), randomUUID()];
    const [before, after] = [parts.slice(0, 3), parts.slice(3)];
    const text = [config.appId, ...before, timestamp, nonce, ...after].join(':');
    return { signature: createHmac('sha1', masterKey).update(text).digest('hex'), timestamp, nonce };
  };
  // 4 says what is done, 5 says what is signed.
  const actions = { add: 'invite', invite: 'invite', remove: 'kick', kick: 'kick' };
  return {
    signatureFactory: (id) => sign(id, ''),
    conversationSignatureFactory: (conversationId, id, members, action) => {
      const sorted = [...members].sort().join(':');
      return action === 'create' ? sign(id.id ?? id, sorted) : sign(id, conversationId, sorted, actions[action]);
    },
    // Here the two versions differ in the order of the first two.
    blacklistSignatureFactory: (first, second, members, action) => {
      const [conversationId, id] = config.major === 5 ? [first, second] : [second, first];
      return sign(id, conversationId, [...members].sort().join(':'), action);
    },
  };
}

/** Opens `name` on a new device. */
const open = (name, options) => new Device(options).open(idOf(name));

/** The same behind a proxy, so that the connection can be cut. */
async function openCuttable(name, options) {
  const proxy = new FaultProxy(config.address);
  const device = new Device({ ...options, address: await proxy.start() });
  device.proxy = proxy;
  return device.open(idOf(name));
}

/** What a conversation, or anything else that emits, says when `event` happens next. */
const next = (emitter, event) =>
  within(new Promise((resolve) => emitter.once(event, (...payload) => resolve(payload))), () => `no ${event}`);

/** A new conversation of `user` with `others` (users or ids); never an existing one unless `unique` is asked for. */
const converse = (user, others, options = {}) =>
  user.client.createConversation({ members: others.map((other) => other.id ?? other), unique: false, ...options });

/** Checks that `promise` fails with this code, and with the name that goes with it. */
async function refused(promise, code, name) {
  const error = await promise.then(
    () => assert.fail(`expected ${code} ${name}, and it succeeded`),
    (reason) => reason,
  );
  assert.equal(error.code, code, `expected ${code} ${name}, got ${error.code} ${error.stack}`);
  assert.equal(error.name, name);
  return error;
}

/** Equal as sets: the order of members and results without a sort means nothing. */
function sameSet(actual, expected, message) {
  assert.deepEqual([...actual].sort(), [...expected].sort(), message);
}

const bytes = (...values) => Uint8Array.from(values).buffer;
const bytesOf = (message) => [...new Uint8Array(message.buffer)];

const say = (record) => process.stdout.write(`${JSON.stringify(record)}\n`);
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test that started this process do something to the server ("restart"), and waits until it is done. */
async function ask(what) {
  say({ ask: what });
  const { value, done } = await within(answers.next(), () => `no answer to ${what}`, 60_000);
  assert.ok(!done, 'the test hung up');
  assert.equal(JSON.parse(value).done, what);
}

/** Runs one scenario and reports: `{"result"}` or `{"failed", "step"}`, the last line on stdout. */
function scenario(play) {
  play().then(
    (result) => process.stdout.write(`${JSON.stringify({ result: result ?? null })}\n`, () => process.exit(0)),
    (error) => {
      const failed = error instanceof Error ? error.stack : String(error);
      process.stdout.write(`${JSON.stringify({ failed, step: currentStep })}\n`, () => process.exit(1));
    },
  );
}

module.exports = {
  Device,
  ask,
  assert,
  bytes,
  bytesOf,
  config,
  converse,
  idOf,
  kick,
  next,
  open,
  openCuttable,
  refused,
  rest,
  sameSet,
  scenario,
  signer,
  step,
  turn,
  within,
};
