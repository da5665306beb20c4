/** Applications: a new one, used at once, and keys that are worth nothing once there are others. */

import {
  answered,
  assert,
  config,
  Person,
  scenario,
  step,
  text,
  told,
  until,
  Visitor,
} from "./harness.mjs";

const ID = "made-in-a-browser";

/** Asks REST something that wants this key. */
const status = async (key) =>
  (await fetch(`${config.url}/1.2/rtm/conversations`, { headers: { "X-LC-Id": ID, "X-LC-Key": key } })).status;

scenario(async () => {
  const operator = await Visitor.signedIn();
  const page = await operator.page("/console#/applications");
  const create = async (id) => {
    await page.getByRole("button", { name: "Create an application" }).click();
    await page.getByRole("dialog").getByLabel(/^Id/).fill(id);
    await page.getByRole("dialog").getByRole("button", { name: "Create", exact: true }).click();
  };
  const shown = async (name) => {
    const item = page.getByRole("dialog").getByRole("listitem").filter({ hasText: name });
    return (await item.innerText()).split("\n")[1].trim();
  };

  step("one that cannot be called so");
  await create("short");
  assert.equal(await page.getByRole("dialog").getByLabel(/^Id/).evaluate((one) => one.validity.valid), false);
  await page.keyboard.press("Escape");

  step("one that is there already");
  await create(config.appId);
  await page.getByRole("alert").filter({ hasText: "there is an application with that id" }).waitFor();
  await page.keyboard.press("Escape");

  step("a new one, whose keys work at once");
  await create(ID);
  await page.getByRole("dialog", { name: /was created/ }).waitFor();
  const [appKey, masterKey] = [await shown("App key"), await shown("Master key")];
  assert.match(masterKey, /^[A-Za-z0-9]{24}$/);
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).last().click();
  assert.equal(await status(`${masterKey},master`), 200);
  const [ann, bob] = [await Person.open("ann", { appId: ID, appKey }), await Person.open("bob", { appId: ID, appKey })];
  const two = await ann.client.createConversation({ members: ["bob"] });
  await two.send(text("a new world"));
  await bob.got("a new world");

  step("keys are shown to those who ask for them, and never in the list");
  assert.ok(!(await page.content()).includes(masterKey));
  await page.getByRole("button", { name: `Keys: ${ID}` }).click();
  await page.getByRole("button", { name: "Show keys" }).click();
  await page.getByRole("dialog", { name: /^Keys of/ }).waitFor();
  assert.equal(await shown("Master key"), masterKey);

  step("a new master key; the old one is refused");
  await page.getByRole("button", { name: "Rotate… Master key" }).click();
  const dialog = page.getByRole("dialog", { name: "Make a new master key?" });
  await dialog.getByRole("textbox").fill("something else");
  assert.ok(await dialog.getByRole("button", { name: "Make a new one" }).isDisabled());
  await dialog.getByRole("textbox").fill(ID);
  await dialog.getByRole("button", { name: "Make a new one" }).click();
  await told(page, "There is a new master key.");
  await page.getByRole("dialog", { name: /^Keys of/ }).waitFor();
  const fresh = await until(async () => {
    const now = await shown("Master key");
    return now !== masterKey && now;
  }, "another key is shown");
  assert.equal(await status(`${masterKey},master`), 401);
  assert.equal(await status(`${fresh},master`), 200);

  step("who is connected stays so");
  await two.send(text("still here"));
  await bob.got("still here");
  await page.getByRole("dialog").getByRole("button", { name: "Close" }).last().click();

  step("each application has settings of its own");
  await page.getByRole("row").filter({ hasText: ID }).getByRole("link", { name: "Settings" }).click();
  await page.getByRole("heading", { level: 1, name: "Settings" }).waitFor();
  assert.equal(await page.getByRole("combobox", { name: "Application" }).inputValue(), ID);
  await page.getByRole("combobox", { name: "Application" }).selectOption(config.appId);
  await until(() => page.url().includes(`app=${config.appId}`), "the address names the application");
  operator.isFine(answered(400));
});
