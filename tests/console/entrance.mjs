/** The entrance: the first password, signing in and out, sessions that end, guessing, and keys alone. */

import {
  answered,
  api,
  ask,
  assert,
  config,
  findings,
  scenario,
  signIn,
  step,
  tabTo,
  told,
  until,
  visit,
  Visitor,
} from "./harness.mjs";

const OTHER_PASSWORD = "another horse, another staple";
const token = config.setupLink.split("/").at(-1);
const heading = (page, name) => page.getByRole("heading", { level: 1, name, exact: true });
const password = (page) => page.getByLabel("Password", { exact: true });

/** Opens the console, and signs in as people do. */
async function come(visitor, words) {
  const page = await visitor.page();
  await password(page).fill(words);
  await page.getByRole("button", { name: "Sign in" }).click();
  await heading(page, "Live").waitFor();
  return page;
}

scenario(async () => {
  step("before there is a password nothing but the link helps");
  assert.deepEqual((await api("GET", "/session")).value.set_up, false);
  for (const path of ["/live", "/applications", "/audit"]) assert.equal((await api("GET", path)).status, 409);
  assert.equal((await api("POST", "/sign-in", { body: { password: "" } })).status, 409);
  const stranger = await Visitor.open();
  const closed = await stranger.page();
  await heading(closed, "No password is set yet").waitFor();
  assert.deepEqual(await findings(closed), []);
  stranger.isFine();

  step("the link is for this machine, and for nobody behind a proxy");
  const body = { token, password: config.password };
  for (const name of ["X-Forwarded-For", "Forwarded", "X-Real-IP"]) {
    const { status } = await api("POST", "/setup", { body, headers: { [name]: "192.0.2.7" } });
    assert.equal(status, 403, name);
  }
  assert.equal((await api("POST", "/setup", { body: { ...body, token: `${token}x` } })).status, 403);

  step("the first password");
  const operator = await Visitor.open();
  const page = await operator.page(config.setupLink);
  await heading(page, "Set the console's password").waitFor();
  assert.deepEqual(await findings(page), []);
  const set = page.getByRole("button", { name: "Set password and sign in" });
  await password(page).fill("short");
  await page.getByLabel("Password, again").fill("short");
  await set.click();
  await page.getByRole("alert").filter({ hasText: "shorter than 10 characters" }).waitFor();
  await password(page).fill(config.password);
  await page.getByLabel("Password, again").fill("something else");
  await set.click();
  await page.getByRole("alert").filter({ hasText: "not the same" }).waitFor();
  await page.getByLabel("Password, again").fill(config.password);
  await set.click();
  await heading(page, "Live").waitFor();
  assert.ok(!page.url().includes(token), page.url());
  const [cookie] = await operator.context.cookies();
  assert.deepEqual(
    [cookie.name, cookie.httpOnly, cookie.sameSite, cookie.path],
    ["fastim_console", true, "Strict", "/console"],
  );
  assert.ok(cookie.expires - Date.now() / 1000 < 12 * 3600 + 60);
  operator.isFine();

  step("the link works once");
  assert.equal((await api("POST", "/setup", { body })).status, 409);
  const late = await stranger.page(config.setupLink);
  await heading(late, "Sign in to the console").waitFor();
  await late.getByText("A password is set already").waitFor();
  stranger.isFine();

  step("signing out ends the session, not just the cookie");
  await page.getByRole("button", { name: "Sign out" }).click();
  await heading(page, "Sign in to the console").waitFor();
  assert.deepEqual(await operator.context.cookies(), []);
  assert.equal(await page.getByText("Your session has ended").count(), 0);
  assert.equal((await api("GET", "/live", { cookie: cookie.value })).status, 401);
  operator.isFine(answered(401)); // the page may have been asking

  step("with keys alone: in");
  await page.reload();
  await until(() => password(page).evaluate((field) => field === document.activeElement), "the field has the focus");
  await page.keyboard.type(config.password);
  await page.keyboard.press("Enter");
  await heading(page, "Live").waitFor();

  step("with keys alone: past the navigation");
  await page.reload();
  await heading(page, "Live").waitFor();
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.localName), "main");

  step("with keys alone: a new hook key");
  await page.reload();
  await heading(page, "Live").waitFor();
  await tabTo(page, "link", "Applications");
  await page.keyboard.press("Enter");
  await heading(page, "Applications").waitFor();
  const opener = ["button", `Keys: ${config.appId}`];
  await page.getByRole(opener[0], { name: opener[1] }).waitFor();
  await tabTo(page, ...opener);
  await page.keyboard.press("Enter");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  assert.ok(
    await page.getByRole(opener[0], { name: opener[1] }).evaluate((one) => one === document.activeElement),
    "the focus is back where it was",
  );
  await page.keyboard.press("Enter");
  await tabTo(page, "button", "Show keys");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: /^Keys of / }).waitFor();
  for (let pressed = 0; pressed < 20; pressed += 1) {
    await page.keyboard.press("Tab");
    const where = await page.evaluate(() => {
      const dialog = document.querySelector("dialog[open]");
      return dialog.contains(document.activeElement) || document.activeElement === document.body;
    });
    assert.ok(where, "the focus stays in the dialog");
  }
  await tabTo(page, "button", "Rotate… Hook key");
  await page.keyboard.press("Enter");
  await page.getByRole("dialog", { name: "Make a new hook key?" }).waitFor();
  await page.keyboard.type("wrong");
  await page.keyboard.press("Enter");
  assert.ok(await page.getByRole("button", { name: "Make a new one" }).isDisabled());
  for (let letter = 0; letter < 5; letter += 1) await page.keyboard.press("Backspace");
  await page.keyboard.type(config.appId);
  await page.keyboard.press("Enter");
  await told(page, "There is a new hook key.");
  await page.keyboard.press("Escape");
  operator.isFine();

  step("another password ends the other sessions");
  const elsewhere = await signIn();
  await page.getByRole("button", { name: "Change password" }).click();
  const dialog = page.getByRole("dialog", { name: "Change password" });
  await dialog.getByLabel("Password until now").fill("not this one");
  await dialog.getByLabel("New password").fill(OTHER_PASSWORD);
  await dialog.getByLabel("Password, again").fill(OTHER_PASSWORD);
  await dialog.getByRole("button", { name: "Change password" }).click();
  await dialog.getByRole("alert").waitFor();
  assert.deepEqual(await findings(page), []);
  await dialog.getByLabel("Password until now").fill(config.password);
  await dialog.getByRole("button", { name: "Change password" }).click();
  await told(page, "The password was changed.");
  assert.equal((await api("GET", "/live", { cookie: elsewhere })).status, 401);
  assert.equal((await api("POST", "/sign-in", { body: { password: config.password } })).status, 401);
  operator.isFine(answered(403));

  step("a session that is over is said so, and one goes on where one was");
  await visit(page, "#/audit", "Audit trail");
  await ask("restart"); // the server forgets who has signed in
  await page.getByRole("button", { name: "Refresh" }).click();
  await heading(page, "Sign in to the console").waitFor();
  await page.getByText("Your session has ended").waitFor();
  await password(page).fill(OTHER_PASSWORD);
  await page.getByRole("button", { name: "Sign in" }).click();
  await heading(page, "Audit trail").waitFor();
  operator.isFine(answered(401));

  step("who guesses is locked out, who is in is not");
  const guesser = await Visitor.open();
  const door = await guesser.page();
  for (let guess = 0; guess < 5; guess += 1) {
    await password(door).fill(`guess number ${guess}`);
    const heard = door.waitForResponse((response) => response.url().endsWith("/sign-in"));
    await door.getByRole("button", { name: "Sign in" }).click();
    assert.equal((await heard).status(), 401);
    await door.getByRole("alert").filter({ hasText: "The password is not right." }).waitFor();
    assert.equal(await password(door).inputValue(), "");
  }
  await password(door).fill(OTHER_PASSWORD);
  const heard = door.waitForResponse((response) => response.url().endsWith("/sign-in"));
  await door.getByRole("button", { name: "Sign in" }).click();
  assert.equal((await heard).status(), 429);
  assert.ok(Number((await heard).headers()["retry-after"]) > 60);
  await door.getByRole("alert").filter({ hasText: "Too many tries" }).waitFor();
  guesser.isFine(answered(401, 429));
  await page.getByRole("button", { name: "Refresh" }).click();
  const trail = page.getByRole("table", { name: "Audit trail" });
  for (const what of ["locked out", "password changed", "password set", "key rotated", "keys shown", "signed in"])
    await trail.getByRole("rowheader", { name: what, exact: true }).first().waitFor();
  operator.isFine();

  step("a lost password: without its file the server prints another link");
  const link = await ask("forget");
  assert.notEqual(link, "");
  assert.ok(!link.includes(token));
  const again = await (await Visitor.open()).page(link);
  await password(again).fill(config.password);
  await again.getByLabel("Password, again").fill(config.password);
  await again.getByRole("button", { name: "Set password and sign in" }).click();
  await heading(again, "Live").waitFor();
  await come(await Visitor.open(), config.password);
});
