// Home: how the road is, which daemon waits for whom, and what was refused.
import { mkdirSync } from "node:fs";
import axe from "axe-core";
import type { Page } from "playwright-core";
import { expect, test } from "vitest";
import { useFake } from "./fake";
import { complaints, done, page, push, useBrowser } from "./world";

useBrowser();

const shots = process.env["FALCON_TEST_SHOTS"] ?? "";
const shot = async (p: Page, name: string): Promise<void> => {
  if (!shots) return;
  mkdirSync(shots, { recursive: true });
  await p.screenshot({ path: `${shots}/${name}.png` });
};

const daemon = (name: string, addr: string, state = "ok", ...words: string[]) => ({ name, addr, state, words, counted: state !== "away" });
const ill = {
  road: { in: 1_020_400, stored: 680_000, refused: 3.2, spooled: 48_211, stale: 17, rules: 31, rules_age: 412, rows_age: 12, events: 2, lag_sec: 1, open: 14 },
  refused: [{ daemon: "transfer", addr: "10.0.0.1:6060", reason: "bad_value", n: 90_211, rate: 3.2 }, { daemon: "graph", addr: "10.0.0.2:6071", reason: "old", n: 3, rate: null }],
  daemons: [
    daemon("transfer", "10.0.0.1:6060", "note", "graph graph-01 at 10.0.0.3:6070: 48211 points are spooled for it"),
    daemon("graph", "10.0.0.2:6071"), daemon("graph", "10.0.0.3:6071", "away", "dial tcp 10.0.0.3:6071: connect: connection refused"),
    daemon("judge", "10.0.0.2:6081", "unready", "judge has no rules: points wait until an hbs answers (hbs.servers)"), { ...daemon("alarm", "10.0.0.2:9912"), counted: false },
  ],
  partial: ["graph 10.0.0.3:6071"],
};

test.each([
  ["a desktop", {}, { in: "Points in", away: "no answer", note: "waits", unready: "does not work", ill: "3 of 5 have something to say", partial: "Without the part of graph 10.0.0.3:6071" }],
  ["the dark, in Chinese", { lang: "zh", dark: true }, { in: "接收", away: "无应答", note: "在等待", unready: "不可用", ill: "5 个中有 3 个有情况", partial: "graph 10.0.0.3:6071" }],
  ["a phone, in Chinese", { lang: "zh", width: 360, height: 740, touch: true }, { in: "接收", away: "无应答", note: "在等待", unready: "不可用", ill: "5 个中有 3 个有情况", partial: "graph 10.0.0.3:6071" }],
] as const)("who is not well comes first and says why: %s", async (name, look, text) => {
  const p = await page(look);
  const fake = await useFake(p);
  fake.health = ill;
  await p.goto("/home");
  const tile = (of: string) => p.locator(".tile").filter({ hasText: of }).locator("b");
  expect(await tile(text.in).textContent()).toBe("1.02M");
  await p.getByText(text.ill).waitFor();
  await p.locator(".note").getByText(text.partial).waitFor();
  expect(await p.locator(".daemons tbody .pill").allTextContents()).toEqual([text.away, text.unready, text.note, expect.any(String), expect.any(String)]);
  await p.locator(".daemons").getByText("48211 points are spooled for it").waitFor();
  await p.locator(".daemons").getByText("connection refused").waitFor();
  await p.locator(".refusals").getByText("bad_value").waitFor();
  expect(await p.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await p.evaluate(axe.source);
  expect(await p.evaluate(async () => (await (window as unknown as { axe: typeof axe }).axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] })).violations.map((v) => v.id))).toEqual([]);
  await shot(p, "home-" + name.replace(/\W+/g, "-"));
  await done(p);
});

test("what is on screen stays while the api is away, and its failure stands above", async () => {
  const p = await page();
  const fake = await useFake(p);
  fake.health = { ...ill, daemons: [daemon("transfer", "10.0.0.1:6060")], refused: [], partial: [], road: { ...ill.road, in: null, rules_age: -1 } };
  await p.goto("/home");
  await p.getByText("every daemon works").waitFor();
  expect(await p.locator(".tile b").allTextContents()).toEqual(["–", "680k", "48\u202f211", "3.20", "–", "2", "14"]);
  fake.fail = true;
  await p.keyboard.press("r");
  await p.getByRole("alert").waitFor();
  await p.getByText("every daemon works").waitFor();
  await done(p);
});

test("a real fleet says of itself that points flow, by the menu and the keys", async () => {
  const p = await page();
  await p.goto("/explore");
  await p.getByRole("navigation").getByText("Home").click();
  await p.waitForURL("**/home");
  await p.locator(".daemons").getByText("poly_metric").waitFor();
  expect(await p.locator(".daemons tbody tr").count()).toBe(10);
  let n = 0;
  const flows = async (): Promise<boolean> => {
    const item = { endpoint: "home-road", metric: "m" + String(n++), value: 1, timestamp: Math.floor(Date.now() / 1000), step: 60, counterType: "GAUGE", tags: "" };
    await fetch(push + "?wait=1", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify([item]) });
    await p.keyboard.press("r");
    return (await p.locator(".tile b").allTextContents()).slice(0, 2).every((v) => /^0?\.?[\d.]+k?$/.test(v) && v !== "0");
  };
  await expect.poll(flows, { timeout: 20_000, interval: 300 }).toBe(true);
  await shot(p, "home-real");
  await p.keyboard.press("g");
  await p.keyboard.press("a");
  await p.waitForURL("**/alarms");
  await p.keyboard.press("g");
  await p.keyboard.press("o");
  await p.waitForURL("**/home");
  expect(complaints.get(p)).toEqual([]);
  await done(p);
});
