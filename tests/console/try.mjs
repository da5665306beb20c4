/**
 * The page for trying out, as a newcomer uses it. Wants a fastim server with its console, and a Chromium.
 *
 *     node try.mjs http://127.0.0.1:4568 [directory for screenshots]
 *
 * Each check is a line of JSON on stdout, {"check", "ok", "milliseconds", "error"?}. Exits with 1 when one failed.
 * CHROMIUM names the browser, /usr/bin/chromium otherwise.
 */

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { chromium } from "playwright-core";

const [, , base, pictures] = process.argv;
if (!base) {
  process.stderr.write("usage: node try.mjs URL [directory for screenshots]\n");
  process.exit(2);
}
const DEADLINE = 15_000;
const HOSTILE = `<img src=x onerror="window.hacked=1"><b>bold</b>`;
const HOST = new URL(base).host;
let failures = 0;

async function check(name, what) {
  const start = performance.now();
  const line = { check: name, ok: true };
  try {
    await what();
  } catch (error) {
    failures += 1;
    Object.assign(line, { ok: false, error: String(error instanceof Error ? error.message : error).slice(0, 600) });
  }
  process.stdout.write(`${JSON.stringify({ ...line, milliseconds: Math.round(performance.now() - start) })}\n`);
}

/** A page that has just been opened, by somebody whom the server has never seen. */
async function open(browser, options) {
  const context = await browser.newContext({ locale: "en-US", ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(DEADLINE);
  const faults = [];
  const strangers = [];
  page.on("pageerror", (error) => faults.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text()) && !ourSdkAsks(message.text())) faults.push(message.text());
  });
  page.on("request", (request) => {
    if (!request.url().startsWith("data:") && new URL(request.url()).host !== HOST) strangers.push(request.url());
  });
  await page.goto(`${base}/console/try`);
  return { page, faults, strangers, person: (tone) => new Person(page, tone) };
}

/** After a lost connection version 4 asks for notifications by HTTPS, whatever the server speaks; it goes on without. */
const ourSdkAsks = (text) => text.includes("/rtm/notifications");

class Person {
  constructor(page, tone) {
    this.page = page;
    this.pane = page.locator(`[data-person="${tone}"]`);
    this.input = this.pane.locator(".composer input");
  }

  async say(text) {
    await this.input.fill(text);
    await this.input.press("Enter");
    await this.newest(text).waitFor();
  }

  newest(text) {
    return this.pane.locator(".bubble", { hasText: text }).last();
  }

  /** The pane has something that fits, within the deadline. */
  async sees(selector, hasText) {
    await this.pane.locator(selector, hasText === undefined ? {} : { hasText }).last().waitFor();
  }

  async state(link) {
    await this.pane.locator(`[data-link="${link}"]`).waitFor();
  }

  async pocket() {
    await this.pane.locator(".pocket").click();
  }
}

async function until(page, what, description) {
  const end = Date.now() + 30_000;
  let value;
  while (Date.now() < end) {
    value = await what();
    if (value) return value;
    await page.waitForTimeout(200);
  }
  throw new Error(`${description} (the last value was ${value})`);
}

const figure = (page, priority, what) =>
  page.locator(`[data-priority="${priority}"] [data-${what}]`).evaluate((cell, name) => Number(cell.dataset[name]), what);
const seen = (page, place) => page.locator(".stage").nth(place).locator("[data-seen]").evaluate((one) => Number(one.dataset.seen));

async function talk(browser) {
  const { page, faults, strangers, person } = await open(browser, { viewport: { width: 1280, height: 800 } });
  const [mei, jonas] = [person("one"), person("two")];

  await check("two people are online at once", async () => {
    await mei.state("online");
    await jonas.state("online");
    await mei.sees(".will-kept");
    await jonas.sees(".will-kept");
  });
  await check("typing is seen by the other, and not by oneself", async () => {
    await mei.input.pressSequentially("Hello");
    await jonas.sees(".typing");
    assert.equal(await mei.pane.locator(".typing").count(), 0);
  });
  await check("a message arrives, and the sender sees that it was read", async () => {
    await mei.say("Hello Jonas");
    await jonas.sees(".theirs-side", "Hello Jonas");
    await mei.newest("Hello Jonas").locator('[data-tick="read"]').waitFor();
  });
  await check("in a pocket it is delivered and unread, not read", async () => {
    await jonas.pocket();
    await mei.say("Are you there?");
    await mei.newest("Are you there?").locator('[data-tick="delivered"]').waitFor();
    await jonas.sees(".unread", "1");
    assert.equal(await jonas.pane.locator(".unread-mention").count(), 0);
  });
  await check("what is typed is not counted as unread", async () => {
    await mei.input.pressSequentially("so");
    await jonas.sees(".typing");
    assert.equal(await jonas.pane.locator(".unread > [aria-hidden]").textContent(), "1");
    await mei.input.fill("");
  });
  await check("a mention marks what is unread", async () => {
    await mei.pane.locator(".composer .icon-button").click();
    assert.equal(await mei.input.inputValue(), "@Jonas ");
    await mei.say("@Jonas look!");
    await jonas.sees(".unread-mention");
    await jonas.sees(".mentioned", "look!");
  });
  await check("looking again reads it all", async () => {
    await jonas.pocket();
    await jonas.pane.locator(".unread").waitFor({ state: "detached" });
    await mei.newest("look!").locator('[data-tick="read"]').waitFor();
  });
  await check("a listed word is masked for both, and the sender is told", async () => {
    const word = await mei.pane.locator(".word").textContent();
    await mei.pane.locator(".word").click();
    await mei.input.press("End");
    await mei.input.pressSequentially("tonight");
    await mei.input.press("Enter");
    await jonas.sees(".theirs-side", "*** tonight");
    const own = mei.newest("*** tonight");
    await own.locator(".badge.warn").waitFor();
    assert.ok(!(await page.locator(".lines").allTextContents()).join().includes(word));
  });
  await check("a message can be modified", async () => {
    await mei.say("The score is 3:2");
    await mei.newest("The score is 3:2").locator(".bubble-actions button").first().click();
    assert.equal(await mei.input.inputValue(), "The score is 3:2");
    await mei.input.fill("The score is a secret");
    await mei.input.press("Enter");
    await jonas.sees(".theirs-side", "The score is a secret");
    await mei.newest("a secret").getByText("edited").waitFor();
    assert.equal(await jonas.pane.getByText("3:2").count(), 0);
  });
  await check("a modified message is filtered, too", async () => {
    await mei.newest("a secret").locator(".bubble-actions button").first().click();
    await mei.input.fill("The score is a jackpot");
    await mei.input.press("Enter");
    await jonas.sees(".theirs-side", "The score is a ***");
    await mei.newest("The score is a ***").waitFor();
  });
  await check("Escape leaves a message as it is", async () => {
    await mei.newest("The score").locator(".bubble-actions button").first().click();
    await mei.input.press("Escape");
    assert.equal(await mei.input.inputValue(), "");
  });
  await check("a message can be recalled", async () => {
    await jonas.say("Wrong window");
    await mei.sees(".theirs-side", "Wrong window");
    await jonas.newest("Wrong window").locator(".bubble-actions button").last().click();
    await mei.sees(".theirs-side.recalled");
    await jonas.sees(".my-side.recalled");
    assert.equal(await page.getByText("Wrong window").count(), 0);
  });
  await check("hostile text is text", async () => {
    await jonas.say(HOSTILE);
    await mei.sees(".theirs-side", HOSTILE);
    assert.equal(await page.evaluate(() => window.hacked), undefined);
    assert.equal(await page.locator(".lines img, .lines b").count(), 0);
  });
  await check("a pulled plug sends the will", async () => {
    await mei.pane.locator(".plug").click();
    await jonas.sees(".will-line", "Mei has lost her connection.");
    await mei.pane.locator('[data-link="offline"], [data-link="retrying"]').waitFor();
  });
  await check("who comes back has what was said meanwhile", async () => {
    await jonas.say("Come back");
    await jonas.newest("Come back").locator('[data-tick="sent"]').waitFor();
    await mei.pane.locator(".plug").click();
    await mei.state("online");
    await mei.sees(".theirs-side", "Come back");
    await jonas.newest("Come back").locator('[data-tick="read"]').waitFor();
  });
  await check("after a reload the same two go on", async () => {
    await page.reload();
    await mei.sees(".theirs-side", "Come back");
    await jonas.sees(".my-side", "Come back");
    await jonas.say("Here again");
    await mei.sees(".theirs-side", "Here again");
  });
  await picture(page, "try-talk");
  await check("no fault, and nothing is asked of anybody else", () => {
    assert.deepEqual(faults, []);
    assert.deepEqual(strangers, []);
  });
  await page.context().close();
}

async function room(browser) {
  const { page, faults } = await open(browser, { viewport: { width: 1280, height: 800 } });
  const throttle = page.getByRole("switch");
  const rate = page.getByRole("slider");
  const flood = (perSecond) =>
    rate.evaluate((slider, value) => {
      slider.value = String(value);
      slider.dispatchEvent(new window.Event("input", { bubbles: true }));
    }, perSecond);

  await check("two viewers are in the room", async () => {
    await page.locator("[data-seen]").nth(1).waitFor();
    await page.getByText(/^The server.*; ([2-9]|\d\d+) readers now$/).waitFor();
  });
  await check("a bullet comment flies over both stages", async () => {
    // The room's figures go on while anybody is in it: those of an earlier page may just be leaving.
    const before = await figure(page, "low", "sent");
    await page.locator(".bullet-form input").fill(HOSTILE);
    await page.locator(".bullet-form input").press("Enter");
    for (const place of [0, 1]) await page.locator(".screen").nth(place).locator(".bullet", { hasText: HOSTILE }).waitFor({ state: "attached" });
    await until(page, async () => [before + 1, 1].includes(await figure(page, "low", "sent")), "the ledger has one more low message");
    assert.equal(await page.evaluate(() => window.hacked), undefined);
  });
  await check("a gift is a message of high priority", async () => {
    const before = await figure(page, "high", "sent");
    await page.locator(".bullet-form .button").click();
    await page.locator(".screen").nth(1).locator(".gift-card").waitFor({ state: "attached" });
    await until(page, async () => (await figure(page, "high", "sent")) === before + 1, "the ledger has one more high message");
  });
  await check("the slider goes by keyboard", async () => {
    await rate.focus();
    await page.keyboard.press("ArrowRight");
    await page.locator(".knob output").getByText("10 messages/s", { exact: true }).waitFor();
    await page.keyboard.press("Home");
    await page.locator(".knob output").getByText("0 messages/s", { exact: true }).waitFor();
  });
  await check("a flood reaches both viewers, and nobody is shed who keeps up", async () => {
    const shed = () => Promise.all(["high", "normal", "low"].map((priority) => figure(page, priority, "shed")));
    const before = await shed();
    await flood(100);
    await until(page, async () => (await seen(page, 0)) > 200 && (await seen(page, 1)) > 200, "both have seen 200 messages");
    assert.deepEqual(await shed(), before);
  });
  await check("for a throttled viewer low and normal messages are shed, and high ones never", async () => {
    const [low, normal] = [await figure(page, "low", "shed"), await figure(page, "normal", "shed")];
    await throttle.check();
    await flood(250);
    await until(page, async () => (await figure(page, "low", "shed")) > low + 50 && (await figure(page, "normal", "shed")) > normal, "low and normal ones are shed");
    assert.equal(await figure(page, "high", "shed"), 0);
    assert.ok((await figure(page, "high", "sent")) > 10);
    await page.locator(".reason").first().waitFor();
    await page.locator(".stage.slow .late").waitFor();
    await page.locator(".stage").first().locator(".in-time").waitFor();
  });
  await picture(page, "try-room");
  await check("without the throttle viewer 2 is up to date again", async () => {
    await throttle.uncheck();
    const before = await seen(page, 1);
    await until(page, async () => (await page.locator(".stage").nth(1).locator(".in-time").count()) === 1, "viewer 2 is not behind");
    await until(page, async () => (await seen(page, 1)) > before + 200, "viewer 2 goes on");
  });
  await check("the flood ends when the slider is at nothing", async () => {
    await flood(0);
    let last = -1;
    await until(page, async () => {
      const now = await figure(page, "low", "sent");
      const isStill = now === last;
      last = now;
      await page.waitForTimeout(1_200);
      return isStill;
    }, "nothing more is sent");
  });
  await check("no fault in the room", () => assert.deepEqual(faults, []));
  await page.context().close();
}

async function minute(browser) {
  const { page, faults } = await open(browser, { viewport: { width: 1280, height: 800 }, colorScheme: "dark" });
  await check("everything is seen at work within a minute", async () => {
    const start = Date.now();
    await page.locator("[data-play]").click();
    await page.locator(".deed:not(.done)").first().waitFor({ state: "detached", timeout: 60_000 - (Date.now() - start) }).catch(() => undefined);
    await until(page, async () => (await page.locator(".deed:not(.done)").count()) === 0, "every deed is done");
    assert.ok(Date.now() - start < 60_000, `it took ${Date.now() - start} ms`);
    assert.deepEqual(faults, []);
  });
  await picture(page, "try-dark");
  await page.context().close();
}

async function phone(browser) {
  const { page, faults, person } = await open(browser, { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, locale: "zh-CN" });
  await check("on a phone there are three tabs, and who is not on the screen has unread messages", async () => {
    assert.equal(await page.getByRole("tab").count(), 3);
    await person("one").state("online");
    await person("one").sees(".will-kept");
    await person("one").say("@阿诺 在吗");
    await page.getByRole("tab").nth(1).locator(".unread-mention").waitFor();
    await page.getByRole("tab").nth(1).tap();
    await person("two").sees(".mentioned", "在吗");
    await page.getByRole("tab").nth(1).locator(".unread").waitFor({ state: "detached" });
  });
  await check("tabs go by keyboard", async () => {
    await page.getByRole("tab").nth(1).focus();
    await page.keyboard.press("ArrowRight");
    await page.locator('#tab-2[aria-selected="true"]').waitFor();
    await page.locator(".stages").waitFor();
    assert.equal(await page.evaluate(() => document.activeElement.id), "tab-2");
  });
  await check("nothing is wider than a phone", async () => {
    for (const width of [320, 360, 390]) {
      await page.setViewportSize({ width, height: 844 });
      for (const place of [0, 1, 2]) {
        await page.getByRole("tab").nth(place).click();
        assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `at ${width}, tab ${place}`);
      }
    }
    assert.deepEqual(faults, []);
  });
  await check("the page speaks the language that is chosen", async () => {
    assert.equal(await page.evaluate(() => document.documentElement.lang), "zh-CN");
    await page.locator('[lang="en"]').click();
    await page.getByRole("heading", { name: "Try fastim" }).waitFor();
    assert.equal(await page.evaluate(() => document.documentElement.lang), "en");
  });
  await picture(page, "try-phone");
  await page.context().close();
}

async function picture(page, name) {
  if (!pictures) return;
  mkdirSync(pictures, { recursive: true });
  await page.screenshot({ path: join(pictures, `${name}.png`) });
}

const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ["--no-sandbox"] });
try {
  for (const part of [talk, phone, room, minute]) await part(browser);
} finally {
  await browser.close();
}
process.exitCode = failures ? 1 : 0;
