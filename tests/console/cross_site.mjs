/** What pages of other sites can do to an operator who is signed in: nothing, on the same host or on another. */

import { createServer } from "node:http";

import { api, assert, config, scenario, signIn, step, Visitor } from "./harness.mjs";

/** All that a page can try without anybody's help, one after the other. */
const attack = async ([base, app]) => {
  const came = {};
  const settle = async (name, work) => {
    try {
      came[name] = await work;
    } catch (error) {
      came[name] = `refused: ${error.name}`;
    }
  };
  const target = (path) => `${base}/console/api${path}`;
  const withCookies = { credentials: "include" };
  const json = { "Content-Type": "application/json", "X-Fastim-Console": "1" };
  const read = async (path) => (await fetch(target(path), withCookies)).text();
  await settle("reads", read("/live"));
  await settle("reads keys", read(`/applications/${app}/keys`));
  const post = { method: "POST", headers: json, body: "{}", ...withCookies };
  await settle("posts as scripts do", fetch(target("/sign-out"), post));
  await settle(
    "changes settings",
    fetch(target(`/applications/${app}/settings`), {
      method: "PUT",
      headers: json,
      body: '{"messages.recall_enabled":false}',
      ...withCookies,
    }),
  );
  const blindly = { method: "POST", mode: "no-cors", body: "{}", ...withCookies };
  for (const path of ["/sign-out", "/applications", `/applications/${app}/keys`])
    await settle(`posts blindly to ${path}`, fetch(target(path), blindly).then((answer) => answer.type));
  for (const [name, element] of [
    ["img", "src"],
    ["script", "src"],
    ["iframe", "src"],
  ]) {
    const made = document.createElement(name);
    const heard = new Promise((resolve) => {
      made.onload = () => resolve("loaded");
      made.onerror = () => resolve("refused: error");
    });
    made[element] = name === "iframe" ? `${base}/console` : target("/live");
    document.body.append(made);
    await settle(name, heard);
    if (name === "iframe") {
      try {
        came["reads the frame"] = made.contentWindow.document.body.innerHTML;
      } catch (error) {
        came["reads the frame"] = `refused: ${error.name}`;
      }
    }
  }
  return came;
};

scenario(async () => {
  const evil = createServer((_, answer) => {
    answer.setHeader("Content-Type", "text/html");
    answer.end("<!doctype html><title>evil</title><body>");
  });
  await new Promise((resolve) => evil.listen(0, "127.0.0.1", resolve));
  const { port } = evil.address();
  const cookie = await signIn();
  const before = (await api("GET", "/audit", { cookie })).value;

  // Another port of the same host is the same site: there the cookie comes along. Another name is another site.
  for (const host of ["127.0.0.1", "localhost"]) {
    step(`a page of ${host}`);
    const operator = await Visitor.open();
    await operator.keep(cookie);
    const page = await operator.context.newPage();
    // Pages are not told what became of most of it; the debugger is.
    const wire = await operator.context.newCDPSession(page);
    await wire.send("Network.enable");
    const [answers, cookies] = [[], []];
    wire.on("Network.responseReceivedExtraInfo", ({ statusCode, headers }) => {
      if ("Content-Security-Policy" in headers) answers.push(statusCode); // it is from the console
    });
    wire.on("Network.requestWillBeSentExtraInfo", ({ headers }) => cookies.push(headers.Cookie ?? headers.cookie));
    await page.goto(`http://${host}:${port}/`);
    const came = await page.evaluate(attack, [config.url, config.appId]);
    for (const [what, outcome] of Object.entries(came))
      if (what !== "iframe") assert.match(String(outcome), /^(refused|opaque)/, `${host} ${what}: ${outcome}`);
    assert.ok(answers.length > 8, `something was tried: ${answers}`);
    // The one that is allowed is the frame, which is not shown.
    assert.ok(answers.filter((status) => status < 400).length <= 1, String(answers));
    for (const status of answers) assert.ok([200, 401, 403, 404, 405].includes(status), String(answers));
    assert.equal(cookies.some(Boolean), host === "127.0.0.1", "the cookie comes along within a site");

    step(`a form of ${host}`);
    for (const path of ["/sign-out", "/applications"]) {
      await page.goto(`http://${host}:${port}/`);
      const heard = page.waitForResponse((response) => response.url().endsWith(path));
      await page.evaluate((action) => {
        const form = document.createElement("form");
        Object.assign(form, { method: "POST", enctype: "text/plain", action });
        document.body.append(form);
        form.submit();
      }, `${config.url}/console/api${path}`);
      assert.equal((await heard).status(), 403);
      await page.getByText("the console answers its own pages only").waitFor();
    }

    step(`a window that ${host} opens tells it nothing`);
    await page.goto(`http://${host}:${port}/`);
    const [popup] = await Promise.all([
      operator.context.waitForEvent("page"),
      page.evaluate((url) => void (window.opened = window.open(url)), `${config.url}/console`),
    ]);
    await popup.getByRole("heading", { level: 1 }).waitFor();
    assert.ok(await page.evaluate(() => window.opened.closed), "it has no hold of the window");
    await operator.close();
  }

  step("it has done nothing");
  assert.equal((await api("GET", "/live", { cookie })).status, 200);
  const settings = (await api("GET", `/applications/${config.appId}/settings`, { cookie })).value.settings;
  assert.equal(settings.find((one) => one.name === "messages.recall_enabled").value, true);
  assert.deepEqual((await api("GET", "/audit", { cookie })).value, before);
  evil.close();
});
