/** Conversations: found, read, and stepped into, as those who are in them see it. */

import {
  assert,
  isQuiet,
  Person,
  refused,
  rest,
  scenario,
  sdk,
  step,
  text,
  told,
  visit,
  Visitor,
} from "./harness.mjs";

scenario(async () => {
  const [ann, bob, cat] = [await Person.open("ann"), await Person.open("bob"), await Person.open("cat")];
  const tea = await ann.client.createConversation({ members: ["bob", "cat"], name: "Tea round", unique: false });
  await ann.client.createConversation({ members: ["bob"], name: "Something else", unique: false });
  const bobs = await bob.client.getConversation(tea.id);
  const operator = await Visitor.signedIn();

  step("found by its name, and opened");
  const page = await operator.page("/console#/conversations");
  await page.getByRole("link", { name: "Something else" }).waitFor();
  await page.getByRole("searchbox", { name: "Name or id" }).fill("tea");
  await page.getByRole("link", { name: "Something else" }).waitFor({ state: "detached" });
  await page.getByRole("link", { name: "Tea round" }).click();
  await page.getByRole("heading", { level: 1, name: "Tea round" }).waitFor();
  await page.getByText(tea.id).first().waitFor();
  for (const person of ["ann", "bob", "cat"])
    await page.getByRole("button", { name: `online ${person}` }).first().waitFor();

  step("history, with what was changed and what was taken back");
  const typo = await tea.send(text("Eerl Grey"));
  const secret = await tea.send(text("a secret"));
  await tea.update(typo, text("Earl Grey"));
  await tea.recall(secret);
  await tea.send(new sdk.TextMessage("for bob").setMentionList(["bob"]));
  await page.getByRole("button", { name: "Refresh" }).first().click();
  const history = page.getByRole("group", { name: "History" });
  const line = (words) => history.getByRole("listitem").filter({ hasText: words });
  await page.getByRole("button", { name: "Refresh" }).last().click();
  await line("Earl Grey").getByText("modified", { exact: true }).waitFor();
  await line("took it back").getByText("recalled", { exact: true }).waitFor();
  await line("for bob").getByText("@bob").waitFor();
  assert.equal(await page.getByText("a secret").count(), 0);

  step("something is said in somebody's name");
  const compose = page.getByRole("form", { name: "Send" });
  await compose.getByLabel("Send as").fill("ann");
  await compose.getByLabel("Text").fill("Milk or lemon?");
  await compose.getByRole("button", { name: "Send" }).click();
  await told(page, "Sent.");
  const [said] = await bob.saw("message", (one) => one.text === "Milk or lemon?");
  assert.equal(said.from, "ann");
  await line("Milk or lemon?").waitFor();

  step("and taken back");
  await line("Milk or lemon?").getByRole("button", { name: "Recall" }).click();
  await page.getByRole("dialog", { name: "Recall this message?" }).getByRole("button", { name: "Recall" }).click();
  await told(page, "The message was recalled.");
  const [recalled] = await bob.saw("messagerecall", (one) => one.id === said.id);
  assert.ok(recalled instanceof sdk.RecalledMessage);
  await line("Milk or lemon?").waitFor({ state: "detached" });

  const about = async (person) => {
    await page.getByRole("textbox", { name: "Act on a client id" }).fill(person);
    await page.getByRole("button", { name: "Show what can be done" }).click();
    await page.getByRole("dialog", { name: person }).waitFor();
  };
  const act = async (person, button, title, confirm, says) => {
    await about(person);
    await page.getByRole("button", { name: button }).click();
    await page.getByRole("dialog", { name: title }).getByRole("button", { name: confirm, exact: true }).click();
    await told(page, says);
    await page.getByRole("dialog").waitFor({ state: "detached" });
    await isQuiet(page);
  };
  const lift = async (person, button, says) => {
    await about(person);
    await page.getByRole("button", { name: button, exact: true }).click();
    await told(page, says);
    await page.getByRole("dialog").waitFor({ state: "detached" });
  };

  step("where a client is signed in");
  await about("bob");
  await page.getByRole("dialog").getByText("from 127.0.0.1").waitFor();
  await page.keyboard.press("Escape");

  step("silenced for a time, and allowed to speak again");
  await act("bob", "Silence…", /Silence .*bob/, "Silence", "is silenced");
  await refused(bobs.send(text("mmh")), 4315);
  await lift("bob", "Let speak again", "may speak again");
  await bobs.send(text("I may speak"));
  await ann.saw("message", (one) => one.text === "I may speak");

  step("silenced until it is lifted");
  await about("bob");
  await page.getByRole("button", { name: "Silence…" }).click();
  await page.getByRole("dialog").getByLabel("For how long").selectOption({ label: "until lifted" });
  await page.getByRole("dialog").getByRole("button", { name: "Silence", exact: true }).click();
  await told(page, "is silenced");
  await bob.saw("muted");
  await refused(bobs.send(text("mmh")), 4563);
  await page.getByRole("heading", { name: /^Silenced/ }).waitFor();
  await lift("bob", "Let speak again", "may speak again");
  await bob.saw("unmuted");

  step("blocked, and let in again");
  await act("cat", "Block…", /Block .*cat/, "Block", "is blocked");
  await cat.saw("blocked");
  const cats = await cat.client.getConversation(tea.id, true);
  await refused(cats.join(), 4548);
  await page.getByRole("heading", { name: /^Blocked/ }).waitFor();
  await lift("cat", "Unblock", "is no longer blocked");
  await cats.join();

  step("removed");
  await act("cat", "Remove…", /Remove .*cat/, "Remove", "was removed");
  await cat.saw("kicked");
  await ann.saw("membersleft", ({ members }) => members.includes("cat"));

  step("signed out everywhere, and told why");
  await about("bob");
  await page.getByRole("button", { name: "End its sessions…" }).click();
  await page.getByRole("dialog").getByLabel(/Reason that the app is told/).fill("be nicer");
  await page.getByRole("dialog").getByRole("button", { name: "End its sessions", exact: true }).click();
  await told(page, "were ended");
  assert.deepEqual((await bob.saw("close"))[0], { code: 4115, reason: "be nicer" });
  await page.getByRole("button", { name: "offline bob" }).waitFor();

  step("a chat room: who is in it, what became of its messages, and what is urgent");
  const room = await ann.client.createChatRoom({ name: "Big hall" });
  await (await cat.client.getConversation(room.id)).join();
  await room.join();
  await visit(page, `#/conversations/${room.id}`, "Big hall");
  await page.getByRole("heading", { name: "In the room now · 2" }).waitFor();
  await compose.getByLabel("Send as").fill("host");
  await compose.getByLabel("Priority").selectOption({ label: "high" });
  await compose.getByLabel("Text").fill("Please find your seats");
  await compose.getByRole("button", { name: "Send" }).click();
  await told(page, "Sent.");
  await cat.saw("message", (one) => one.text === "Please find your seats");
  await page.getByRole("button", { name: "Refresh" }).first().click();
  await page.getByRole("heading", { name: "Ledger" }).waitFor();

  step("a service conversation is found by its kind");
  const service = await rest("POST", "service-conversations", { name: "Weather" });
  await visit(page, "#/conversations", "Conversations");
  await page.getByRole("searchbox", { name: "Name or id" }).fill("");
  await page.getByRole("radio", { name: "Services" }).check();
  await page.getByRole("link", { name: "Weather" }).click();
  await page.getByText(service.objectId).first().waitFor();

  step("what was done is in the trail");
  await visit(page, "#/audit", "Audit trail");
  const trail = page.getByRole("table", { name: "Audit trail" });
  for (const [what, detail] of [
    ["message sent", `as ann in ${tea.id}`],
    ["message recalled", said.id],
    ["silence changed", `bob in ${tea.id}`],
    ["block changed", `cat in ${tea.id}: blocked`],
    ["member removed", `cat in ${tea.id}`],
    ["client kicked", "bob"],
  ])
    await trail.getByRole("row").filter({ hasText: what }).filter({ hasText: detail }).first().waitFor();
  operator.isFine();
});
