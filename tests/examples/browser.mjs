// SPDX-License-Identifier: MIT
// Opens a page in Debian's Chromium. Each line on stdin is what it must come to show, {"key": value, …}; answers "equal",
// or what it shows after a while.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const require = createRequire(new URL("../compat/package.json", import.meta.url));
const { chromium } = require("playwright-core");

const PATIENCE_MS = 200000;
const browser = await chromium.launch({
  timeout: PATIENCE_MS, // a cold disk takes its time
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"], // root in a container has no sandbox
});
const page = await browser.newPage();
const problems = [];
page.on("pageerror", (error) => problems.push(String(error)));
page.setDefaultTimeout(PATIENCE_MS);
await page.goto(process.argv[2], { timeout: PATIENCE_MS });

const shown = () =>
  page.$$eval("#rows tr", (rows) =>
    Object.fromEntries(rows.map((r) => [JSON.parse(r.cells[0].textContent)[0], JSON.parse(r.cells[1].textContent).v])));
const sorted = (object) => JSON.stringify(Object.entries(object).sort());

for await (const line of createInterface({ input: process.stdin })) {
  const want = JSON.parse(line);
  const deadline = Date.now() + PATIENCE_MS;
  let have;
  do {
    have = await shown();
    if (sorted(have) === sorted(want)) break;
    await page.waitForTimeout(50);
  } while (Date.now() < deadline);
  const state = await page.textContent("#state");
  console.log(sorted(have) === sorted(want) && !problems.length ? "equal" : JSON.stringify({ have, state, problems }));
}
await browser.close();
