/** The Live page while the server is busy: figures that move, and what it costs. Reports the console's share. */

import { api, assert, ask, scenario, signIn, step, until, Visitor } from "./harness.mjs";

/** The share is of the last 30 s; before that, it has the sign-in in it, which is to cost something. */
const WATCHED_SECONDS = 33;

scenario(async () => {
  const cookie = await signIn();
  const signedIn = Date.now();
  const operator = await Visitor.open();
  await operator.keep(cookie);
  const page = await operator.page("/console#/live");
  await ask("load");

  step("the figures move");
  const tile = (name) => page.getByRole("region", { name, exact: true });
  const figure = async (name) => Number((await tile(name).innerText()).split(/\n+/)[1].replace(/[^\d.]/g, ""));
  await until(async () => (await figure("Sends")) > 0, "sends are counted", 30_000);
  await until(async () => (await figure("Sessions")) > 100, "sessions are counted");
  await page.getByRole("table", { name: "Busiest chat rooms" }).getByRole("row").nth(1).waitFor();
  for (const name of ["Messages per second", "Deliveries per second", "Latency", "Loop lag"])
    await page.getByRole("figure", { name, exact: true }).waitFor();

  step("what it costs");
  await page.waitForTimeout(Math.max(0, signedIn + 1_000 * WATCHED_SECONDS - Date.now()));
  const { value } = await api("GET", "/live", { cookie });
  await tile("Memory").getByText(/^console [\d.]+ % of CPU$/).waitFor();
  operator.isFine();
  return { share: value.console_cpu_share, sends: value.totals.sends };
});
