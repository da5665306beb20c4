/**
 * What every script leans on: a browser whose pages are watched for what should not happen, people with the official
 * SDK, REST, and questions to the test that started this process.
 */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import process from "node:process";
import readline from "node:readline";

import { chromium } from "playwright-core";

const require = createRequire(import.meta.url);
export const sdk = require("leancloud-realtime");
export { assert };

export const config = JSON.parse(process.env.FASTIM_CONSOLE_TEST);
export const DESK = { width: 1280, height: 800 };
export const PHONE = { width: 390, height: 844 };
const DEADLINE_MILLIS = 10_000;
const AXE = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

let browser;
let currentStep = "start";
const opened = [];

/** Names what comes next, for the report of a failure. */
export function step(text) {
  currentStep = text;
}

/** Settles as `promise` does, or fails at the deadline with what `describe` says by then. */
export function within(promise, describe, millis = DEADLINE_MILLIS) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`after ${millis} ms: ${describe()}`)), millis);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Asks until it is so; `what` may fail on the way. */
export async function until(what, description, millis = DEADLINE_MILLIS) {
  const end = Date.now() + millis;
  for (;;) {
    let value;
    try {
      value = await what();
      if (value) return value;
    } catch (error) {
      value = error;
    }
    if (Date.now() > end) assert.fail(`${description}: ${value instanceof Error ? value.message : value}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

// --- The browser -----------------------------------------------------------------------------------------------------

export async function launch() {
  browser ??= await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox"],
  });
  return browser;
}

/** A browser of its own that nobody has signed in with; what goes wrong on its pages is on record. */
export class Visitor {
  constructor(context) {
    this.context = context;
    /** What a page complained of: errors, broken policies, requests that went elsewhere. */
    this.faults = [];
  }

  static async open({ viewport = DESK, dark = false, locale = "en-GB", ...options } = {}) {
    const context = await (await launch()).newContext({
      viewport,
      locale,
      colorScheme: dark ? "dark" : "light",
      reducedMotion: "reduce",
      ...options,
    });
    context.setDefaultTimeout(DEADLINE_MILLIS);
    return new Visitor(context);
  }

  /** The same, signed in. */
  static async signedIn(options) {
    const visitor = await Visitor.open(options);
    await visitor.keep(await signIn());
    return visitor;
  }

  /** Has the cookie of a session. */
  async keep(secret) {
    await this.context.addCookies([{ name: "fastim_console", value: secret, url: `${config.url}/console` }]);
  }

  /** Opens a page at this place of the console. */
  async page(place = "/console") {
    const page = await this.context.newPage();
    this.current = page;
    opened.push(page);
    page.on("pageerror", (error) => this.faults.push(`error: ${error.message}`));
    page.on("console", (message) => {
      if (message.type() === "error") this.faults.push(`console: ${message.text()} (${message.location().url})`);
    });
    page.on("dialog", (dialog) => {
      if (dialog.type() !== "beforeunload") this.faults.push(`dialog: ${dialog.message()}`);
      void dialog.accept();
    });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "data:" && url.host !== config.address) this.faults.push(`asked ${url}`);
    });
    await page.goto(config.url + place);
    return page;
  }

  /** Nothing went wrong, but for what fits `allowed`. */
  isFine(allowed) {
    const faults = this.faults.filter((fault) => !allowed?.test(fault));
    this.faults = [];
    assert.deepEqual(faults, []);
  }

  async close() {
    await this.context.close();
  }
}

/** The browser says so of every answer that is not 2xx; where one is wanted, that is no fault. */
export const answered = (...statuses) => new RegExp(`responded with a status of (${statuses.join("|")}) `);

/** What axe finds serious or critical, a line each. */
export async function findings(page) {
  // By the debugger, which the policy does not concern.
  await page.evaluate(AXE);
  // A colour that is on its way to another is neither.
  await page.evaluate(() => {
    const fading = document.getAnimations().filter((one) => one instanceof CSSTransition);
    return Promise.allSettled(fading.map((one) => one.finished));
  });
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`);
}

/** Takes the page to another place of the console, and waits for its heading. */
export async function visit(page, place, heading) {
  await page.evaluate((hash) => (location.hash = hash), place);
  await page.getByRole("heading", { level: 1, name: heading, exact: true }).waitFor();
  await isQuiet(page);
}

/** Nothing is loading any more, and what has been loaded is drawn. */
export async function isQuiet(page) {
  await until(
    () => page.evaluate(() => !document.querySelector(".loading") && document.fonts.status === "loaded"),
    "the page is still loading",
  );
  await page.evaluate(() => new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn))));
}

/** The line at the bottom says what was done. */
export async function told(page, text) {
  await page.getByRole("status").filter({ hasText: text }).first().waitFor();
}

/** The console's answer to a program that is no browser. */
export async function api(method, path, { body, cookie, headers = {} } = {}) {
  const response = await fetch(`${config.url}/console/api${path}`, {
    method,
    headers: {
      ...(method === "GET" ? {} : { "X-Fastim-Console": "1", "Content-Type": "application/json" }),
      ...(cookie ? { Cookie: `fastim_console=${cookie}` } : {}),
      ...headers,
    },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, value: text ? JSON.parse(text) : null };
}

/** Signs in, and gives what the browser would keep. */
export async function signIn(password = config.password) {
  const { status, headers, value } = await api("POST", "/sign-in", { body: { password } });
  assert.equal(status, 200, JSON.stringify(value));
  return /fastim_console=([^;]+)/.exec(headers.get("set-cookie"))[1];
}

/** Presses Tab until what has the focus has this role and name. */
export async function tabTo(page, role, name) {
  const wanted = page.getByRole(role, { name, exact: true });
  for (let pressed = 0; pressed < 120; pressed += 1) {
    await page.keyboard.press("Tab");
    const found = await wanted.evaluateAll((all) => all.includes(document.activeElement));
    if (found) return;
  }
  assert.fail(`Tab does not reach the ${role} ${name}`);
}

// --- People ----------------------------------------------------------------------------------------------------------

/** A client with a record of every event that it was told of. */
export class Person {
  constructor(realtime, client) {
    this.realtime = realtime;
    this.client = client;
    this.events = [];
    this.waiting = new Set();
    for (const event of Object.values(sdk.Event)) {
      client.on(event, (...payload) => {
        this.events.push({ event, payload });
        for (const wake of this.waiting) wake();
      });
    }
  }

  /** Opens a session; two of them never share a socket. */
  static async open(id, { appId = config.appId, appKey = config.appKey, tag, signatureFactory } = {}) {
    const realtime = new sdk.Realtime({
      appId,
      appKey,
      RTMServers: `ws://${config.address}`,
      server: { RTMRouter: config.address, api: config.address },
    });
    return new Person(realtime, await realtime.createIMClient(id, { signatureFactory }, tag));
  }

  get id() {
    return this.client.id;
  }

  /** Takes the first `event` that `matches` out of the record, waiting for it if need be; gives its payload. */
  async saw(event, matches = () => true) {
    let wake;
    const found = new Promise((resolve) => {
      wake = () => {
        const at = this.events.findIndex((record) => record.event === event && matches(...record.payload));
        if (at >= 0) resolve(this.events.splice(at, 1)[0].payload);
      };
    });
    this.waiting.add(wake);
    wake();
    const names = () => this.events.map((record) => record.event).join(", ");
    return within(found, () => `${this.id} saw no such ${event}, but ${names()}`).finally(() =>
      this.waiting.delete(wake),
    );
  }

  /** The next message, checked to have `text`. */
  async got(text) {
    const [message] = await this.saw("message");
    assert.equal(message.text ?? message.content, text, `next message of ${this.id}`);
    return message;
  }

  close() {
    return this.client.close();
  }
}

/** Checks that `promise` fails with this code. */
export async function refused(promise, code) {
  const error = await promise.then(
    () => assert.fail(`expected ${code}, and it succeeded`),
    (reason) => reason,
  );
  assert.equal(error.code, code, `expected ${code}, got ${error.code} ${error.stack}`);
}

export const text = (words) => new sdk.TextMessage(words);

/** Calls REST with the master key, as the application's own server does, and gives status and answer. */
export async function restAnswer(method, path, body, masterKey = config.masterKey) {
  const response = await fetch(`${config.url}/1.2/rtm/${path}`, {
    method,
    headers: { "Content-Type": "application/json", "X-LC-Id": config.appId, "X-LC-Key": `${masterKey},master` },
    body: body && JSON.stringify(body),
  });
  const answer = await response.text();
  return { status: response.status, value: answer ? JSON.parse(answer) : null };
}

/** The same, where it has to succeed. */
export async function rest(method, path, body) {
  const { status, value } = await restAnswer(method, path, body);
  assert.ok(status < 300, `${method} ${path}: ${status} ${JSON.stringify(value)}`);
  return value;
}

// --- The test that started this --------------------------------------------------------------------------------------

const say = (record) =>
  new Promise((resolve) => process.stdout.write(`${JSON.stringify(record)}\n`, () => resolve()));
const answers = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();

/** Has the test that started this process do something, and gives what it answers. */
export async function ask(what) {
  await say({ ask: what });
  const { value, done } = await within(answers.next(), () => `no answer to ${what}`, 60_000);
  assert.ok(!done, "the test hung up");
  return JSON.parse(value).answer;
}

/** A picture of the page that was opened last and is still there. */
async function picture() {
  const page = opened.findLast((one) => !one.isClosed());
  if (!page) return null;
  mkdirSync(config.pictures, { recursive: true });
  const file = join(config.pictures, `${config.script}.png`);
  try {
    await page.screenshot({ path: file });
    return file;
  } catch {
    return null;
  }
}

/** Runs one script and reports: `{"result"}` or `{"failed", "step", "screenshot"}`, the last line on stdout. */
export async function scenario(play) {
  let record;
  try {
    record = { result: (await play()) ?? null };
  } catch (error) {
    const failed = error instanceof Error ? error.stack : String(error);
    record = { failed, step: currentStep, screenshot: await picture() };
  }
  await browser?.close();
  await say(record);
  process.exit("failed" in record ? 1 : 0);
}
