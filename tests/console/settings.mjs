/**
 * Each setting that operators change, and what people who are connected notice of it; what survives a restart, what is
 * pinned, and what the audit trail keeps. And the story of a message that went through all of it.
 */

import { createHmac, randomUUID } from "node:crypto";

import {
  answered,
  ask,
  assert,
  config,
  isQuiet,
  Person,
  refused,
  restAnswer,
  scenario,
  step,
  text,
  told,
  until,
  visit,
  Visitor,
} from "./harness.mjs";

const RECALL = "Whether senders may recall a message";
const MODIFY = "Whether senders may change a message";
const STATIC = "What is pushed when neither a hook nor the message says it";
const WORDS = "Whether messages are searched for listed words, which are then masked";
const ROLES = "Whether owners and managers have rights that members lack";
const BLACKLIST = "Whether conversations can block clients";
const SIGNATURE = "Whether login and changes of members need a signature made with the master key";
const SENDS = "Messages sent, modified and recalled; 0: no limit";

/** As the application's own server signs a login. */
function signatureFactory(id) {
  const [timestamp, nonce] = [Date.now(), randomUUID()];
  const signed = [config.appId, id, "", timestamp, nonce].join(":");
  return { signature: createHmac("sha1", config.masterKey).update(signed).digest("hex"), timestamp, nonce };
}

scenario(async () => {
  const [ann, bob] = [await Person.open("ann"), await Person.open("bob")];
  const group = await ann.client.createConversation({ members: ["bob", "away"], name: "Group", unique: false });
  await bob.saw("invited");
  const operator = await Visitor.signedIn();
  const page = await operator.page("/console#/settings");
  const table = async (name) => {
    await page.getByRole("navigation", { name: "Settings" }).getByRole("link", { name, exact: true }).click();
    await isQuiet(page);
  };
  const field = (label) => page.getByLabel(label, { exact: true });
  const save = async () => {
    await page.getByRole("button", { name: "Save", exact: true }).click();
    await told(page, "Saved and in force.");
    await page.getByRole("button", { name: "Save", exact: true }).waitFor({ state: "detached" });
  };
  const turn = async (label, on) => {
    await field(label).setChecked(on);
    await save();
  };

  step("recall, switched off and on");
  await table("Messages");
  const kept = await ann.client.createConversation({ members: ["bob"], name: "Two", unique: false });
  const slip = await kept.send(text("a slip"));
  await bob.got("a slip");
  await turn(RECALL, false);
  await refused(kept.recall(slip), 4407);
  await turn(RECALL, true);
  await kept.recall(slip);
  await bob.saw("messagerecall");

  step("modify, switched off and on");
  const typo = await kept.send(text("a tpyo"));
  await bob.got("a tpyo");
  await turn(MODIFY, false);
  await refused(kept.update(typo, text("a typo")), 4406);
  await turn(MODIFY, true);
  await kept.update(typo, text("a typo"));
  const [corrected] = await bob.saw("messageupdate");
  assert.equal(corrected.text, "a typo");

  step("what is pushed: checked, seen beforehand, in force");
  await table("Push");
  await field(STATIC).fill("{ no JSON");
  await page.getByRole("alert").filter({ hasText: "This is not JSON" }).waitFor();
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await until(() => field(STATIC).evaluate((one) => one === document.activeElement), "it has the focus");
  await field(STATIC).fill('{"alert": "News from ${fromClientId}", "badge": "Increment"}');
  const preview = (device) => page.getByRole("region", { name: `Preview ${device}` });
  for (const device of ["iOS", "Android", "Webhook"])
    await preview(device).getByText("News from fastim-console").first().waitFor();
  await save();
  await group.send(text("is anybody there?"));
  await bob.got("is anybody there?");
  await until(
    async () => (await ask("pushed")).some((one) => one.client_id === "away" && one.data.alert === "News from ann"),
    "the webhook hears of it",
  );

  step("a test send");
  await page.getByLabel("Client id", { exact: true }).last().fill("away");
  await page.getByLabel("Text", { exact: true }).fill("only a test");
  await page.getByRole("button", { name: "Send", exact: true }).click();
  await page.getByText("Sent", { exact: true }).last().waitFor();
  await until(
    async () => (await ask("pushed")).some((one) => one.client_id === "away" && one.data.alert === "only a test"),
    "the webhook hears of the test",
  );
  const providers = page.getByRole("table", { name: "Providers" });
  await providers.getByRole("row").filter({ hasText: "webhook" }).getByText("running").waitFor();

  step("what is pinned is shown, and cannot be changed");
  const webhook = field("Gets one POST for each offline member and message");
  assert.ok(await webhook.isDisabled());
  assert.equal(await webhook.inputValue(), `${config.backEnd}/push`);
  await page.getByText("Given at the server's start, on its command line").first().waitFor();

  step("words: uploaded, tried, masked");
  await table("Word filter");
  await page
    .getByLabel("Choose a file", { exact: true })
    .setInputFiles({ name: "words.txt", mimeType: "text/plain", buffer: Buffer.from("marmalade\n臭豆腐\n") });
  await told(page, "The list is in force.");
  await page.getByText("2 words").waitFor();
  await page.getByLabel("Text", { exact: true }).fill("MARMALADE and 臭豆腐");
  await page.getByRole("button", { name: "Try it" }).click();
  await page.getByText("2 hits").waitFor();
  await page.getByText("Masked:").waitFor();
  const plain = await group.send(text("marmalade, unmasked"));
  await bob.got("marmalade, unmasked");
  await turn(WORDS, true);
  const masked = await group.send(text("marmalade with 臭豆腐"), { receipt: true });
  await bob.got("*** with ***");
  await page.getByRole("button", { name: "Refresh" }).first().click();
  await page.getByRole("table", { name: "Met most often" }).getByRole("rowheader", { name: "marmalade" }).waitFor();

  step("the story of a message that was filtered, asked about, stored, delivered and pushed");
  await visit(page, "#/story", "Message story");
  await page.getByLabel("Message id").fill(masked.id);
  await page.getByRole("button", { name: "Look up" }).click();
  const steps = page.getByRole("heading", { level: 3 });
  for (const what of ["Received", "Hook asked", "Words masked", "Stored", "Delivered", "Pushed"])
    await until(
      async () => {
        if (await steps.filter({ hasText: what }).count()) return true;
        await page.getByRole("button", { name: "Refresh" }).click();
        return false;
      },
      `the story tells of ${what}, and now of ${await steps.allTextContents()}`,
    );
  await page.getByText("*** with ***").first().waitFor();
  await page.getByLabel("Message id").fill(plain.id);
  await page.getByRole("button", { name: "Look up" }).click();
  await page.getByText("marmalade, unmasked").first().waitFor();
  assert.equal(await steps.filter({ hasText: "Words masked" }).count(), 0);
  await page.getByLabel("Message id").fill("A".repeat(22));
  await page.getByRole("button", { name: "Look up" }).click();
  await page.getByText("Nothing is known of this message.").waitFor();

  step("a hook is tested, and its calls are listed");
  await visit(page, "#/settings/hooks", "Settings");
  await ask("answer");
  await page.getByRole("button", { name: "Test _messageReceived" }).click();
  const dialog = page.getByRole("dialog", { name: "Test of _messageReceived" });
  await dialog.getByRole("button", { name: "Test", exact: true }).click();
  await dialog.getByRole("group", { name: "Answer" }).getByText("changed by the hook").waitFor();
  await dialog.getByRole("button", { name: "Close" }).last().click();
  const recent = page.getByRole("table", { name: "Recent calls" });
  for (const hook of ["_messageReceived", "_receiversOffline", "_clientOnline"])
    await recent.getByRole("rowheader", { name: hook }).first().waitFor();
  await group.send(text("before the hook"));
  await bob.got("changed by the hook");

  step("roles, switched off and on");
  await table("Conversations");
  await turn(ROLES, false);
  await refused(group.updateMemberRole("bob", "Manager"), 4325);
  await turn(ROLES, true);
  await group.updateMemberRole("bob", "Manager");
  const bobs = await bob.client.getConversation(group.id, true);
  assert.deepEqual((await bobs.muteMembers(["away"])).successfulClientIds, ["away"]);

  step("blacklists, switched off and on");
  await turn(BLACKLIST, false);
  await refused(group.blockMembers(["troll"]), 4544);
  await turn(BLACKLIST, true);
  assert.deepEqual((await group.blockMembers(["troll"])).successfulClientIds, ["troll"]);

  step("signatures, wanted and not");
  await table("Security");
  await turn(SIGNATURE, true);
  await refused(Person.open("unsigned"), 4102);
  await (await Person.open("signed", { signatureFactory })).close();
  await group.send(text("those who are in stay in"));
  await turn(SIGNATURE, false);
  await (await Person.open("unsigned")).close();

  step("the rate of REST: only what can be, and then it holds");
  await table("Rate limits");
  await field(SENDS).fill("many");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByRole("alert").filter({ hasText: "Give a number." }).waitFor();
  await field(SENDS).fill("-1");
  await page.getByRole("button", { name: "Save", exact: true }).click();
  await page.getByRole("alert").filter({ hasText: "Give 0 to" }).waitFor();
  await field(SENDS).fill("1");
  await save();
  const speak = (words) =>
    restAnswer("POST", `conversations/${kept.id}/messages`, {
      from_client: "ann",
      message: JSON.stringify({ _lctype: -1, _lctext: words }),
    });
  const outcomes = [];
  while (outcomes.at(-1) !== 429 && outcomes.length < 3) outcomes.push((await speak("over REST")).status);
  assert.equal(outcomes.at(-1), 429, String(outcomes));
  assert.ok(outcomes.length > 1, String(outcomes)); // the first one fits
  await page.getByRole("button", { name: "Forget what is stored" }).click();
  await save();
  assert.equal((await speak("over REST")).status, 200);

  step("unsaved changes are asked about");
  await field(SENDS).fill("7");
  await page.getByRole("link", { name: "Audit trail" }).click();
  await page.getByRole("dialog", { name: "Leave without saving?" }).getByRole("button", { name: "Stay" }).click();
  assert.equal(await field(SENDS).inputValue(), "7");
  await page.getByRole("button", { name: "Discard" }).click();
  operator.isFine();

  step("what is stored survives a restart");
  await table("Messages");
  await turn(RECALL, false);
  await ask("restart");
  const back = await Visitor.signedIn();
  const after = await back.page("/console#/settings/messages");
  await after.getByLabel(RECALL).waitFor();
  assert.equal(await after.getByLabel(RECALL).isChecked(), false);
  await after.getByText("stored", { exact: true }).first().waitFor();
  const anew = await Person.open("ann-again");
  const third = await anew.client.createConversation({ members: ["bob", "cat"], name: "Three", unique: false });
  await refused(third.recall(await third.send(text("for ever"))), 4407);
  const eve = await Person.open("cat");
  await ask("silence");
  await third.send(text("still no 臭豆腐"));
  await eve.got("still no ***");

  step("the audit trail has it all");
  await visit(after, "#/audit", "Audit trail");
  const trail = after.getByRole("table", { name: "Audit trail" });
  for (const [what, detail] of [
    ["settings changed", "messages.recall_enabled"],
    ["settings changed", "messages.modify_enabled"],
    ["settings changed", "push.static"],
    ["settings changed", "words.enabled"],
    ["settings changed", "conversations.roles_enabled"],
    ["settings changed", "conversations.blacklist_enabled"],
    ["settings changed", "security.require_signature"],
    ["settings changed", "rest.sends_per_minute"],
    ["words stored", "bytes"],
    ["hook tested", "_messageReceived"],
    ["push tested", "away"],
  ])
    await trail
      .getByRole("row")
      .filter({ hasText: what })
      .filter({ hasText: detail })
      .filter({ hasText: config.appId })
      .filter({ hasText: "127.0.0.1" })
      .first()
      .waitFor();
  back.isFine(answered(401));
});
