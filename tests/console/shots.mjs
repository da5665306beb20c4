/**
 * Pictures of every page, on a phone and on a desk, in either light and both languages, for people to look at.
 *
 *     node shots.mjs http://127.0.0.1:4568 PASSWORD DIRECTORY [PART...]
 *
 * A PART, such as `live`, `desk`, `dark` or `zh`, has to be in a picture's name, `live-desk-dark-zh.png`.
 * Writes each picture's name on stdout.
 */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const [, , url, password, directory, ...parts] = process.argv;
if (!directory) {
  process.stderr.write("usage: node shots.mjs URL PASSWORD DIRECTORY [PART...]\n");
  process.exit(2);
}
process.env.FASTIM_CONSOLE_TEST = JSON.stringify({ url, address: new URL(url).host, password });
const { api, DESK, isQuiet, launch, PHONE, signIn, Visitor } = await import("./harness.mjs");

/** Live is looked at for so long, so that there are lines to see. */
const WATCHED_MILLIS = Number(process.env.FASTIM_SHOTS_WATCH ?? 4_000);

const cookie = await signIn(password);
const read = async (path) => (await api("GET", path, { cookie })).value;
const [application] = await read("/applications");
const of = `/applications/${application.id}`;
const { conversations } = await read(`${of}/conversations`);
const [room, group] = ["room", "normal"].map((kind) => conversations.find((one) => one.kind === kind));
const told = group && (await read(`${of}/conversations/${group.id}/messages`)).messages[0];

const pages = {
  live: "#/live",
  conversations: "#/conversations",
  ...(group && { conversation: `#/conversations/${group.id}` }),
  ...(room && { room: `#/conversations/${room.id}` }),
  ...(told && { story: `#/story/${told.id}?conversation=${group.id}` }),
  settings: "#/settings/messages",
  words: "#/settings/words",
  push: "#/settings/push",
  hooks: "#/settings/hooks",
  applications: "#/applications",
  audit: "#/audit",
};

mkdirSync(directory, { recursive: true });
for (const [place, viewport] of Object.entries({ phone: PHONE, desk: DESK })) {
  for (const light of ["light", "dark"]) {
    for (const [language, locale] of [["en", "en-GB"], ["zh", "zh-CN"]]) {
      const suffix = `${place}-${light}-${language}`;
      const names = ["entrance", ...Object.keys(pages)].map((name) => [name, `${name}-${suffix}.png`]);
      const fits = (file) => parts.every((part) => file.split(/[-.]/).includes(part));
      const wanted = names.filter(([, file]) => fits(file));
      if (!wanted.length) continue;
      const visitor = await Visitor.open({ viewport, locale, dark: light === "dark" });
      const page = await visitor.page();
      for (const [name, file] of wanted) {
        if (name === "entrance") await page.getByRole("textbox").first().waitFor();
        else {
          if (!(await visitor.context.cookies()).length) {
            await visitor.keep(cookie);
            await page.reload();
          }
          await page.evaluate((hash) => (location.hash = hash), pages[name]);
          await page.getByRole("banner").getByRole("link", { name: "fastim" }).waitFor();
          await isQuiet(page);
          if (name === "live") await page.waitForTimeout(WATCHED_MILLIS);
        }
        await page.screenshot({ path: join(directory, file) });
        process.stdout.write(`${file}\n`);
      }
      await visitor.close();
    }
  }
}
await (await launch()).close();
process.exit(0);
