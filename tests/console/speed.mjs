/** How much a browser loads, and how long it takes until somebody can do something. Reports both. */

import { assert, scenario, step, Visitor } from "./harness.mjs";

const RUNS = 3;

/** Milliseconds from asking for the page to its heading being drawn, in a browser that has seen nothing before. */
async function timed(make, heading) {
  let best = Infinity;
  for (let run = 0; run < RUNS; run += 1) {
    const visitor = await make();
    const page = await visitor.page();
    await page.getByRole("heading", { level: 1, name: heading }).waitFor();
    const took = await page.evaluate(
      () => new Promise((drawn) => requestAnimationFrame(() => setTimeout(() => drawn(performance.now())))),
    );
    best = Math.min(best, took);
    visitor.isFine();
    await visitor.close();
  }
  return Math.round(best);
}

scenario(async () => {
  step("the size");
  const visitor = await Visitor.signedIn();
  const page = await visitor.page();
  for (const name of ["Conversations", "Message story", "Settings", "Applications", "Audit trail"]) {
    await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name }).click();
    await page.getByRole("heading", { level: 1, name }).waitFor();
  }
  const loaded = await page.evaluate(() =>
    performance
      .getEntriesByType("resource")
      .filter(({ name }) => /\.(js|css)$/.test(new URL(name).pathname))
      .map(({ name, encodedBodySize, decodedBodySize }) => ({ name, encodedBodySize, decodedBodySize })),
  );
  assert.ok(loaded.length >= 2, JSON.stringify(loaded));
  for (const one of loaded) assert.ok(one.encodedBodySize < one.decodedBodySize, `${one.name} comes compressed`);
  const bytes = loaded.reduce((sum, one) => sum + one.encodedBodySize, 0);
  await visitor.close();

  step("the time");
  const signIn = await timed(() => Visitor.open(), "Sign in to the console");
  const live = await timed(() => Visitor.signedIn(), "Live");
  return { bytes, signIn, live };
});
