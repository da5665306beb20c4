// How much a browser loads for the console: what its page names and what that imports, compressed. Fails above the limit.

import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const LIMIT_BYTES = 150 * 1_000;
const built = new URL("../fastim/console/", import.meta.url);

const names = new Set();
const visit = (name) => {
  if (names.has(name)) return;
  names.add(name);
  const text = readFileSync(new URL(name, built), "utf8");
  if (name.endsWith(".js")) {
    for (const [, file] of text.matchAll(/["'](?:\.\/|\/console\/assets\/|assets\/)([\w.-]+\.(?:js|css))["']/g))
      visit(`assets/${file}`);
  }
};
for (const [, file] of readFileSync(new URL("index.html", built), "utf8").matchAll(
  /"\/console\/(assets\/[^"]+\.(?:js|css))"/g,
))
  visit(file);

const bytes = [...names].reduce(
  (sum, name) => sum + gzipSync(readFileSync(new URL(name, built)), { level: 9 }).length,
  0,
);
console.log(
  `the console is ${(bytes / 1_000).toFixed(1)} KB compressed in ${names.size} files, at most ${LIMIT_BYTES / 1_000} KB`,
);
if (bytes > LIMIT_BYTES || names.size === 0) process.exit(1);
