/**
 * Every page, in either light and on a phone: no errors, nothing that axe finds serious, no sideways scrolling, and
 * whatever people call themselves and say is shown as text.
 */

import {
  assert,
  config,
  findings,
  isQuiet,
  Person,
  PHONE,
  rest,
  scenario,
  step,
  text,
  until,
  visit,
  Visitor,
} from "./harness.mjs";

const LONG = "long".repeat(250);
const IMAGE = `<img src=x onerror="window.hacked=1">`;
const SCRIPT = `"><script>window.hacked=2</script>`;
const BACKWARDS = "\u202eevil\u202c שלום";
const TABLES = ["messages", "conversations", "security", "users", "rest", "words", "push", "hooks"];

async function furnish() {
  const ann = await Person.open(`ann ${IMAGE}`);
  const bob = await Person.open("bob שלום");
  const names = [IMAGE, SCRIPT, BACKWARDS, LONG, "javascript:alert(1)"];
  const conversations = [];
  for (const name of names) {
    const members = [bob.id, SCRIPT];
    conversations.push(await ann.client.createConversation({ members, name, unique: false, info: SCRIPT }));
  }
  const messages = [];
  for (const words of [IMAGE, SCRIPT, BACKWARDS, LONG, "**bold** <b>bold</b> &amp; {{7*7}}"])
    messages.push(await conversations[0].send(text(words)));
  const room = await ann.client.createChatRoom({ name: `${IMAGE} hall` });
  await room.join();
  await room.send(text(SCRIPT));
  await rest("POST", "service-conversations", { name: SCRIPT });
  return { conversation: conversations[0], room, message: messages[0], long: conversations[3] };
}

scenario(async () => {
  step("hostile names and messages");
  const { conversation, room, message, long } = await furnish();
  const places = [
    ["#/live", "Live"],
    ["#/conversations", "Conversations"],
    [`#/conversations/${conversation.id}`, IMAGE],
    [`#/conversations/${room.id}`, `${IMAGE} hall`],
    [`#/conversations/${long.id}`, LONG],
    [`#/story/${message.id}`, "Message story"],
    ...TABLES.map((table) => [`#/settings/${table}`, "Settings"]),
    ["#/applications", "Applications"],
    ["#/audit", "Audit trail"],
  ];
  /** The dialogs and the page that cannot be reached by an address. */
  const openKeys = async (page) => {
    await visit(page, "#/applications", "Applications");
    await page.getByRole("button", { name: `Keys: ${config.appId}` }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Show keys" }).click();
    await page.getByRole("dialog", { name: /^Keys of/ }).waitFor();
  };
  const openClient = async (page) => {
    await visit(page, `#/conversations/${conversation.id}`, IMAGE);
    await page.getByRole("button", { name: "online ann" }).first().click();
    await page.getByRole("dialog").getByText("from 127.0.0.1").first().waitFor();
  };
  const isHarmless = async (page, where) => {
    assert.equal(await page.evaluate(() => window.hacked), undefined, where);
    assert.equal(await page.locator("img[src=x], main script, main b:text-is('bold')").count(), 0, where);
  };

  for (const dark of [false, true]) {
    const light = dark ? "dark" : "light";
    step(`the entrance, ${light}`);
    const stranger = await Visitor.open({ dark });
    const door = await stranger.page();
    await door.getByRole("heading", { level: 1, name: "Sign in to the console" }).waitFor();
    assert.deepEqual(await findings(door), [], `the entrance, ${light}`);
    stranger.isFine();
    await stranger.close();

    const operator = await Visitor.signedIn({ dark });
    const page = await operator.page();
    for (const [place, heading] of places) {
      step(`${place}, ${light}`);
      await visit(page, place, heading);
      await isHarmless(page, place);
      assert.deepEqual(await findings(page), [], `${place}, ${light}`);
      operator.isFine();
    }
    for (const open of [openKeys, openClient]) {
      step(`${open.name}, ${light}`);
      await open(page);
      await isHarmless(page, open.name);
      assert.deepEqual(await findings(page), [], `${open.name}, ${light}`);
      await page.keyboard.press("Escape");
      await page.getByRole("dialog").waitFor({ state: "detached" });
      operator.isFine();
    }
    await operator.close();

    step(`the page for trying out, ${light}`);
    const newcomer = await Visitor.open({ dark });
    const trial = await newcomer.page("/console/try");
    await trial.getByRole("heading", { level: 1 }).waitFor();
    await trial.getByRole("textbox").first().waitFor();
    await isQuiet(trial);
    assert.deepEqual(await findings(trial), [], `/console/try, ${light}`);
    await newcomer.close();
  }

  step("what was written is what is read");
  const operator = await Visitor.signedIn();
  const page = await operator.page(`/console#/conversations/${conversation.id}`);
  const history = page.getByRole("group", { name: "History" });
  for (const words of [IMAGE, SCRIPT, "**bold** <b>bold</b> &amp; {{7*7}}", LONG])
    await history.getByText(words, { exact: true }).first().waitFor();
  await visit(page, "#/conversations", "Conversations");
  for (const name of [IMAGE, SCRIPT, LONG, "javascript:alert(1)"])
    await page.getByRole("link", { name }).first().waitFor();

  step("the policy is in force");
  await page.evaluate(() => {
    const script = document.createElement("script");
    script.textContent = "window.hacked = 3";
    document.body.append(script);
    document.body.insertAdjacentHTML("beforeend", "<img src='data:,' onerror='window.hacked = 4'>");
  });
  const policy = /Content Security Policy/;
  await until(() => operator.faults.filter((fault) => policy.test(fault)).length >= 2, "the browser says so");
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  operator.isFine(policy);

  step("the theme follows the system, and the switch");
  const back = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const bright = await back();
  await page.emulateMedia({ colorScheme: "dark" });
  await until(async () => (await back()) !== bright, "dark colours");
  const dim = await back();
  await page.getByRole("button", { name: "Use light colours" }).click();
  await until(async () => (await back()) === bright, "light colours");
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "Conversations" }).waitFor();
  assert.equal(await back(), bright, "the choice is remembered");
  await page.getByRole("button", { name: "Use dark colours" }).click();
  await until(async () => (await back()) === dim, "dark colours");

  step("the language follows the browser, and the switch");
  await page.getByRole("button", { name: "中文" }).click();
  await page.getByRole("heading", { level: 1, name: "对话", exact: true }).waitFor();
  assert.equal(await page.evaluate(() => document.documentElement.lang), "zh-CN");
  await page.reload();
  await page.getByRole("heading", { level: 1, name: "对话", exact: true }).waitFor();
  operator.isFine();
  await operator.close();

  for (const locale of ["zh-CN", "en-GB"]) {
    const somebody = await Visitor.signedIn({ viewport: PHONE, locale });
    const phone = await somebody.page();
    assert.equal(await phone.evaluate(() => document.documentElement.lang), locale === "zh-CN" ? "zh-CN" : "en");
    for (const [place] of places) {
      step(`${place} on a phone, ${locale}`);
      await phone.evaluate((hash) => (location.hash = hash), place);
      await phone.getByRole("heading", { level: 1 }).waitFor();
      await isQuiet(phone);
      for (const width of [PHONE.width, 360]) {
        await phone.setViewportSize({ ...PHONE, width });
        const wide = await phone.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(wide <= width, `${place} is ${wide} wide on ${width}`);
      }
    }
    if (locale === "en-GB") {
      step("a phone's menu");
      await phone.getByRole("button", { name: "Menu" }).click();
      await phone.getByRole("link", { name: "Applications" }).click();
      await phone.getByRole("heading", { level: 1, name: "Applications" }).waitFor();
      assert.deepEqual(await findings(phone), [], "a phone");
    }
    somebody.isFine();
    await somebody.close();
  }
});
