import axe from "axe-core";
import { expect, test } from "vitest";
import { signed, useFake } from "./fake";
import { done, page, useBrowser } from "./world";

useBrowser();

const host = (hostname: string, state: string, reason = "") => ({ hostname, state, reason, at: Math.floor(Date.now() / 1000) - 90, tries: 1 });
const stopped = {
  versions: { "7.0": 180, "7.1": 20 },
  claimed_twice: [{ hostname: "web-002.bj", also: "machine 4f2a, boot 91c0, at 10.1.0.77" }],
  upgrade: {
    state: "stopped", reason: "3 of 20 hosts failed, web-003.bj among them: 7.1: rolled back to 7.0: no heartbeat was taken in 3 starts",
    args: { version: "7.1", type: 0 }, ordered_at: Math.floor(Date.now() / 1000) - 900, waves: [1, 10, 100], wave: 1, fleet: 200, places: 2000, taken: 0,
    counts: { waiting: 180, ordered: 0, upgrading: 0, done: 17, failed: 3, left: 1 },
    hosts: [host("web-003.bj", "failed", "7.1: rolled back to 7.0: no heartbeat was taken in 3 starts"), host("db-001.bj", "left", "self_upgrade is false")], more: 0,
  },
};

// The texts in both languages, on a desktop and on a phone in the dark.
test.each([
  ["a desktop", {}, { to: "Upgrade to 7.1", wave: "wave 2 of 3, 10 %", go: "Go on", stop: "Stop", counts: "failed: 3", left: "left out" }],
  ["a phone, in Chinese", { lang: "zh", dark: true, width: 360, height: 740, touch: true }, { to: "升级到 7.1", wave: "第 2/3 批，10%", go: "继续", stop: "停止", counts: "失败：3", left: "未纳入" }],
] as const)("an upgrade that stopped is explained, goes on and stops: %s", async (_name, look, text) => {
  const p = await page(look);
  const fake = await useFake(p);
  fake.upgrade = stopped;
  await p.goto("/hosts");
  const box = p.locator(".upgrades");
  await box.getByText(text.to).waitFor();
  await box.getByText(text.wave).waitFor();
  await box.getByText(text.counts, { exact: false }).waitFor();
  await box.getByText("no heartbeat was taken in 3 starts").first().waitFor();
  await box.getByText("self_upgrade is false").waitFor();
  await box.getByText("machine 4f2a", { exact: false }).waitFor();
  await box.getByText(text.left, { exact: true }).waitFor();
  expect(await p.evaluate(() => document.documentElement.scrollWidth - innerWidth)).toBeLessThanOrEqual(0);
  await p.evaluate(axe.source);
  expect(await p.evaluate(async () => (await (window as unknown as { axe: typeof axe }).axe.run(document.querySelector(".upgrades") as Element)).violations.map((v) => v.id))).toEqual([]);
  await box.getByRole("button", { name: text.go }).click();
  await box.getByRole("button", { name: text.stop }).click();
  await box.getByRole("button", { name: text.go }).waitFor();
  expect(fake.writes.map((w) => [w.method, w.path])).toEqual([["POST", "/agent/upgrade/go"], ["POST", "/agent/upgrade/stop"]]);
  expect(signed(fake)).toBe(true);
  await done(p);
});

test("who is no administrator sees the upgrade and can not stop it; without one nothing is shown", async () => {
  const p = await page();
  const fake = await useFake(p);
  fake.plain = true;
  fake.upgrade = stopped;
  await p.goto("/hosts");
  await p.locator(".upgrades").getByText("Upgrade to 7.1").waitFor();
  expect(await p.locator(".upgrades button").count()).toBe(0);
  fake.upgrade = { upgrade: { state: "none" }, versions: { "7.1": 200 }, claimed_twice: [] };
  await p.reload();
  await p.getByText("web-003.bj").first().waitFor();
  expect(await p.locator(".upgrades").count()).toBe(0);
  await done(p);
});
